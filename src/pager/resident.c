/* SPDX-License-Identifier: MIT */
/*
 * Layers whose every expert is in a slot: where their blocks lie is on the device, so a call needs no
 * ids on the host. Who was used is read when the call's mark has passed; the policy hears of events in
 * the order of their calls all the same, because a call that decides on the host settles them first.
 *
 * A call pins no slot. Instead the engine's lock is held while it is enqueued, and whoever refills a
 * slot of such a layer comes after the layer's last mark (resident_forget).
 */
#include "base/alloc.h"
#include "base/status.h"
#include "pager/pager_int.h"

ufm_status residents_open(ufm_engine *e)
{
	if (!e->config.max_tokens)
		return UFM_OK;
	e->residents = alloc_zeroed(e->layers, sizeof *e->residents);
	if (!e->residents)
		return UFM_ENOMEM;
	return pinned_open(e->b, "the tables of block addresses", 8ull * e->layers * e->experts,
	                   &e->block_table);
}

void residents_close(ufm_engine *e)
{
	pinned_close(e->b, &e->block_table);
	alloc_free(e->residents);
}

/* ------------------------------------------------------------------ where the blocks lie */

static uint64_t *staging(const ufm_engine *e, uint32_t layer)
{
	return (uint64_t *)(void *)e->block_table.memory + (uint64_t)layer * e->experts;
}

static ufm_devptr table_of(const ufm_engine *e, uint32_t layer)
{
	return e->ws.blocks + 8ull * layer * e->experts;
}

static bool wholly_resident(const ufm_engine *e, uint32_t layer)
{
	for (uint32_t i = 0; i < e->experts; i++) {
		if (cache_find(e->cache, layer * e->experts + i) == SLOT_NONE)
			return false;
	}
	return true;
}

/* The stream comes after the bytes of every expert, then gets the table. What was uploaded
 * last may still be read from the staging memory. */
static ufm_status list_blocks(ufm_engine *e, uint32_t layer, ufm_stream *stream)
{
	uint64_t *blocks = staging(e, layer), size_bytes = 8ull * e->experts;
	ufm_status status = mark_wait(e, e->residents[layer].mark);
	for (uint32_t i = 0; i < e->experts && status == UFM_OK; i++) {
		uint32_t slot = cache_find(e->cache, layer * e->experts + i);
		blocks[i] = slot_address(e, slot);
		status = loads_order(e, slot, stream, false);
	}
	if (status == UFM_OK)
		status = e->b->copy(stream, UFM_COPY_H2D, table_of(e, layer), (ufm_devptr)(uintptr_t)blocks,
		                    size_bytes);
	if (status == UFM_OK)
		status = mark_record(e, stream, &e->residents[layer].mark);
	if (status == UFM_OK) {
		e->residents[layer].listed = true;
		counter_add(&e->counters, COUNTER_h2d_activation_bytes, size_bytes);
	}
	return status;
}

static ufm_status prepare(ufm_engine *e, uint32_t layer, ufm_stream *stream, ufm_devptr *blocks)
{
	bool listed = e->residents[layer].listed;
	if (!listed && !wholly_resident(e, layer))
		return UFM_OK;
	ufm_status status = workspace_order(e, stream);
	if (status == UFM_OK && !listed)
		status = list_blocks(e, layer, stream);
	if (status == UFM_OK)
		*blocks = table_of(e, layer);
	return status;
}

ufm_status pager_resident_begin(ufm_engine *e, uint32_t layer, ufm_stream *stream,
                                ufm_devptr *blocks)
{
	*blocks = 0;
	lock_take(&e->lock);
	ufm_status status = prepare(e, layer, stream, blocks);
	if (*blocks)
		e->resident_stream = stream;
	else
		lock_drop(&e->lock);
	return status;
}

/* After a failure what was enqueued may still read the slots, and nothing tells until when. */
ufm_status pager_resident_end(ufm_engine *e, uint32_t layer, ufm_stream *stream, pager_call *call,
                              uint64_t assignments, ufm_status outcome)
{
	ufm_status status = outcome;
	e->resident_stream = NULL;
	counter_add(&e->counters, COUNTER_calls, 1);
	if (status == UFM_OK)
		status = mark_record(e, stream, &call->mark);
	if (status == UFM_OK) {
		e->residents[layer].mark = e->resident_mark = call->mark;
		workspace_used(e, stream, call->mark);
		call->layer = layer;
		call->unread = assignments;
		atomic_store_explicit(&e->unread, true, memory_order_relaxed);
		counter_add(&e->counters, COUNTER_resident_calls, 1);
	} else {
		(void)e->b->stream_sync(stream);
	}
	lock_drop(&e->lock);
	return status;
}

ufm_status resident_forget(ufm_engine *e, uint32_t key)
{
	resident_layer *layer = e->residents ? &e->residents[key / e->experts] : NULL;
	if (!layer || !layer->listed)
		return UFM_OK;
	layer->listed = false;
	return mark_order(e, e->copy, layer->mark);
}

ufm_status resident_forget_all(ufm_engine *e)
{
	for (uint32_t i = 0; e->residents && i < e->layers; i++)
		e->residents[i].listed = false;
	return mark_wait(e, e->resident_mark);
}

/* ------------------------------------------------------------------ who was used */

static pager_call *oldest_unread(ufm_engine *e)
{
	pager_call *oldest = NULL;
	for (uint32_t i = 0; i < PAGER_CALLS; i++) {
		pager_call *call = &e->calls[i];
		if (call->unread && (!oldest || call->mark < oldest->mark))
			oldest = call;
	}
	atomic_store_explicit(&e->unread, oldest != NULL, memory_order_relaxed);
	return oldest;
}

/* Where every expert has a slot nobody leaves until the budget falls, and a share of the calls is enough to know
 * who should then. A layer among others that are not whole competes with them: there all calls tell. */
#define TOLD_OF 8u

static bool policy_hears(ufm_engine *e, uint32_t layer)
{
	uint32_t calls = e->residents[layer].calls++;
	return e->plan.slots < e->layers * e->experts || calls % TOLD_OF == 0;
}

static void read_uses(ufm_engine *e, pager_call *call)
{
	cache_member *members = e->lease_members;
	uint64_t rows = 0;
	uint32_t tokens = (uint32_t)(call->unread / call->top_k);
	engine_record_routing(e, call->layer, call->ids, tokens, call->top_k);
	uint32_t n = schedule_demands(call->ids, call->unread, e->experts, call->counts, call->demands);
	for (uint32_t i = 0; i < n; i++) {
		members[i] = (cache_member){.expert = call->demands[i].expert,
		                            .tokens = call->demands[i].tokens,
		                            .next_event = UFM_NEVER};
		rows += call->demands[i].tokens;
	}
	call->unread = 0;
	counter_add(&e->counters, counter_of_math(call->math), rows);
	counter_add(&e->counters, COUNTER_uses, n);
	counter_add(&e->counters, COUNTER_resident_uses, n);
	if (!policy_hears(e, call->layer))
		return;
	cache_event_begin(e->cache, call->layer, members, n);
	cache_event_end(e->cache, call->layer, members, n);
}

void resident_harvest(ufm_engine *e)
{
	pager_call *call;
	while ((call = oldest_unread(e)) && !mark_pending(e, call->mark))
		read_uses(e, call);
}

ufm_status resident_settle(ufm_engine *e)
{
	pager_call *call;
	ufm_status status = UFM_OK;
	while ((call = oldest_unread(e)) && status == UFM_OK) {
		status = mark_wait(e, call->mark);
		if (status == UFM_OK)
			read_uses(e, call);
	}
	return status;
}
