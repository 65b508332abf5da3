/* SPDX-License-Identifier: MIT */
/* Calls of wholly resident layers: before, and after. */
#include "pager/residents.h"

#include "base/alloc.h"
#include "pager/key.h"

ufm_status residents_open(residents *r)
{
	r->members = alloc_zeroed(r->experts, sizeof *r->members);
	r->heard = alloc_zeroed(r->layers, sizeof *r->heard);
	return r->members && r->heard ? UFM_OK : UFM_ENOMEM;
}

void residents_close(residents *r)
{
	alloc_free(r->members);
	alloc_free(r->heard);
}

/* ------------------------------------------------------------------ where the blocks lie */

static bool wholly_resident(const residents *r, uint32_t layer)
{
	for (uint32_t i = 0; i < r->experts; i++) {
		uint32_t slot = cache_find(r->cache, key_of(r->experts, layer, i));
		if (slot == SLOT_NONE || r->slab->uses[slot].owed)
			return false;
	}
	return true;
}

/* The stream comes after the bytes of every expert, then gets the table. What was uploaded
 * last may still be read from the staging memory. */
static ufm_status list_blocks(residents *r, uint32_t layer, ufm_stream *stream)
{
	uint64_t *blocks = table_staging(r->tables, layer);
	ufm_status status = table_await(r->tables, layer);
	for (uint32_t i = 0; i < r->experts && status == UFM_OK; i++) {
		uint32_t slot = cache_find(r->cache, key_of(r->experts, layer, i));
		blocks[i] = slot_address(r->slab, slot);
		status = loads_order(r->loads, slot, stream, false);
	}
	if (status == UFM_OK)
		status = table_upload(r->tables, layer, stream);
	if (status == UFM_OK)
		counter_add(r->counters, COUNTER_h2d_activation_bytes, 8ull * r->experts);
	return status;
}

ufm_status residents_begin(residents *r, uint32_t layer, ufm_stream *stream, ufm_devptr *blocks)
{
	bool listed = table_listed(r->tables, layer);
	if (!listed && !wholly_resident(r, layer))
		return UFM_OK;
	ufm_status status = workspace_order(r->calls, stream);
	if (status == UFM_OK && !listed)
		status = list_blocks(r, layer, stream);
	if (status == UFM_OK)
		*blocks = table_address(r->tables, layer);
	return status;
}

ufm_status residents_end(residents *r, uint32_t layer, ufm_stream *stream, pager_call *call,
                         uint64_t assignments)
{
	ufm_status status = mark_record(r->marks, stream, &call->mark);
	if (status != UFM_OK)
		return status;
	table_used(r->tables, layer, call->mark);
	workspace_used(r->calls, stream, call->mark);
	call->layer = layer;
	call->unread = assignments;
	atomic_store_explicit(&r->unread, true, memory_order_relaxed);
	counter_add(r->counters, COUNTER_resident_calls, 1);
	return UFM_OK;
}

/* ------------------------------------------------------------------ who was used */

static pager_call *oldest_unread(residents *r)
{
	pager_call *oldest = NULL;
	for (uint32_t i = 0; i < PAGER_CALLS; i++) {
		pager_call *call = &r->calls->items[i];
		if (call->unread && (!oldest || call->mark < oldest->mark))
			oldest = call;
	}
	atomic_store_explicit(&r->unread, oldest != NULL, memory_order_relaxed);
	return oldest;
}

/* With a slot for every expert nothing is evicted until a resize; sampling one call in TOLD_OF keeps the
 * ranking. A layer among others that are not wholly resident competes with them: there all calls tell. */
#define TOLD_OF 8u

static bool policy_hears(residents *r, uint32_t layer)
{
	uint32_t before = r->heard[layer]++;
	return r->plan->slots < r->layers * r->experts || before % TOLD_OF == 0;
}

static void read_uses(residents *r, pager_call *call)
{
	cache_member *members = r->members;
	uint64_t rows = 0;
	uint32_t tokens = (uint32_t)(call->unread / call->top_k);
	routing_add(r->routing, call->layer, call->ids, tokens, call->top_k);
	uint32_t n = schedule_demands(call->ids, call->unread, r->experts, call->counts, call->demands);
	for (uint32_t i = 0; i < n; i++) {
		members[i] = (cache_member){.expert = call->demands[i].expert,
		                            .tokens = call->demands[i].tokens,
		                            .next_event = UFM_NEVER};
		rows += call->demands[i].tokens;
	}
	call->unread = 0;
	counter_add(r->counters, counter_of_math(call->math), rows);
	counter_add(r->counters, COUNTER_uses, n);
	counter_add(r->counters, COUNTER_resident_uses, n);
	if (!policy_hears(r, call->layer))
		return;
	cache_event_begin(r->cache, call->layer, members, n);
	cache_event_end(r->cache, call->layer, members, n);
}

void residents_harvest(residents *r)
{
	pager_call *call;
	while ((call = oldest_unread(r)) && !mark_pending(r->marks, call->mark))
		read_uses(r, call);
}

ufm_status residents_settle(residents *r)
{
	pager_call *call;
	ufm_status status = UFM_OK;
	while ((call = oldest_unread(r)) && status == UFM_OK) {
		status = mark_wait(r->marks, call->mark);
		if (status == UFM_OK)
			read_uses(r, call);
	}
	return status;
}
