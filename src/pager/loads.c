/* SPDX-License-Identifier: MIT */
/* Copies of experts to the device, kept in a ring of records until they have ended. */
#include <assert.h>

#include "base/status.h"
#include "pager/pager_int.h"

static load *load_at(ufm_engine *e, uint64_t number)
{
	return &e->loads[number % PAGER_LOADS];
}

ufm_status loads_open(ufm_engine *e)
{
	e->load_next = e->load_oldest = 1;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < PAGER_LOADS && status == UFM_OK; i++) {
		load *l = &e->loads[i];
		status = e->b->event_open(e->device, &l->begin);
		if (status == UFM_OK)
			status = e->b->event_open(e->device, &l->end);
		if (status == UFM_OK)
			status = e->b->event_open(e->device, &l->wait);
	}
	return status;
}

void loads_close(ufm_engine *e)
{
	for (uint32_t i = 0; i < PAGER_LOADS; i++) {
		load *l = &e->loads[i];
		ufm_event *events[] = {l->begin, l->end, l->wait};
		for (uint32_t j = 0; j < 3; j++) {
			if (events[j])
				e->b->event_close(events[j]);
		}
		*l = (load){0};
	}
}

static void account(ufm_engine *e, const load *l)
{
	uint64_t elapsed_ns = 0;
	if (e->b->event_elapsed(l->begin, l->end, &elapsed_ns) == UFM_OK) {
		counter_add(&e->counters, COUNTER_copy_ns, elapsed_ns);
		e->copy_ns = e->copy_ns ? (3 * e->copy_ns + elapsed_ns) / 4 : elapsed_ns;
	}
	if (l->waited && e->b->event_elapsed(l->wait, l->end, &elapsed_ns) == UFM_OK)
		counter_add(&e->counters, COUNTER_stall_ns, elapsed_ns);
}

static void retire(ufm_engine *e, load *l)
{
	account(e, l);
	spans_load(e, l);
	cache_loaded(e->cache, l->slot, l->generation);
	if (e->uses[l->slot].load == l->number)
		e->uses[l->slot].load = 0;
}

static bool ended(const ufm_engine *e, const load *l)
{
	int end = 0, wait = 1;
	if (e->b->event_query(l->end, &end) != UFM_OK)
		return false;
	if (l->waited && e->b->event_query(l->wait, &wait) != UFM_OK)
		return false;
	return end && wait;
}

void loads_step(ufm_engine *e)
{
	while (e->load_oldest < e->load_next) {
		load *l = load_at(e, e->load_oldest);
		if (!ended(e, l))
			return;
		retire(e, l);
		e->load_oldest++;
	}
}

ufm_status loads_has_ended(ufm_engine *e, uint64_t number, bool *out)
{
	int done = 1;
	ufm_status status = UFM_OK;
	if (number >= e->load_oldest)
		status = e->b->event_query(load_at(e, number)->end, &done);
	*out = done;
	return status;
}

ufm_event *loads_awaited(ufm_engine *e)
{
	load *oldest = load_at(e, e->load_oldest);
	return e->load_oldest < e->load_next && oldest->waited ? oldest->end : NULL;
}

/* Waits for the oldest copy in flight. */
static ufm_status retire_oldest(ufm_engine *e)
{
	load *oldest = load_at(e, e->load_oldest);
	ufm_status status = e->b->event_sync(oldest->end, UFM_WAIT_FOREVER);
	if (status == UFM_OK && oldest->waited)
		status = e->b->event_sync(oldest->wait, UFM_WAIT_FOREVER);
	if (status != UFM_OK)
		return status;
	retire(e, oldest);
	e->load_oldest++;
	return UFM_OK;
}

ufm_status loads_drain(ufm_engine *e)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && e->load_oldest < e->load_next)
		status = retire_oldest(e);
	return status;
}

/* A free record; waits for the oldest copy when all are in flight. */
static ufm_status next_record(ufm_engine *e, load **out)
{
	loads_step(e);
	if (e->load_next - e->load_oldest == PAGER_LOADS) {
		ufm_status status = retire_oldest(e);
		if (status != UFM_OK)
			return status;
	}
	*out = load_at(e, e->load_next);
	return UFM_OK;
}

/* The copy comes after the slot's last use: in stream order, without a wait of the host. */
static ufm_status enqueue(ufm_engine *e, const load *l, uint32_t key)
{
	const slot_use *use = &e->uses[l->slot];
	ufm_devptr to = slot_address(e, l->slot);
	ufm_devptr from = (ufm_devptr)(uintptr_t)host_block(e->host, key);
	ufm_status status = mark_order(e, e->copy, use->mark);
	if (status == UFM_OK && e->config.poison_free_slots)
		status = e->b->fill(e->copy, to, 0xff, e->desc.block_bytes);
	if (status == UFM_OK)
		status = e->b->event_record(l->begin, e->copy);
	if (status == UFM_OK)
		status = e->b->copy(e->copy, UFM_COPY_H2D, to, from, e->desc.expert_bytes);
	if (status == UFM_OK)
		status = e->b->event_record(l->end, e->copy);
	return status;
}

ufm_status loads_start(ufm_engine *e, uint32_t key, const cache_placement *place)
{
	load *l;
	bool evicts = place->evicted_key != UFM_KEY_NONE;
	ufm_status status = evicts ? resident_forget(e, place->evicted_key) : UFM_OK;
	if (status == UFM_OK)
		status = next_record(e, &l);
	if (status == UFM_OK) {
		l->number = e->load_next;
		l->key = key;
		l->slot = place->slot;
		l->generation = place->generation;
		l->waited = false;
		status = enqueue(e, l, key);
	}
	if (status != UFM_OK) {
		cache_load_failed(e->cache, place->slot, place->generation);
		slots_publish(e);
		return status_prefix(status, "copying expert %u of layer %u to the device",
		                     key % e->experts, key / e->experts);
	}
	e->load_next++;
	e->uses[l->slot] = (slot_use){.load = l->number};
	counter_add(&e->counters, COUNTER_h2d_weight_bytes, e->desc.expert_bytes);
	if (evicts)
		counter_add(&e->counters, COUNTER_evictions, 1);
	return UFM_OK;
}

ufm_status loads_place(ufm_engine *e, uint32_t key, uint32_t *slot)
{
	cache_placement place;
	ufm_status status = cache_place(e->cache, key, &place);
	if (status != UFM_OK)
		return status;
	assert(place.slot != SLOT_NONE);
	slots_publish(e);
	status = loads_start(e, key, &place);
	if (status != UFM_OK)
		return status;
	if (!place.kept)
		counter_add(&e->counters, COUNTER_bypasses, 1);
	cache_pin(e->cache, place.slot);
	*slot = place.slot;
	return UFM_OK;
}

ufm_status loads_order(ufm_engine *e, uint32_t slot, ufm_stream *stream, bool measure)
{
	uint64_t number = e->uses[slot].load;
	if (number == 0)
		return UFM_OK;
	load *l = load_at(e, number);
	ufm_status status = UFM_OK;
	if (measure && !l->waited) {
		status = e->b->event_record(l->wait, stream);
		l->waited = status == UFM_OK;
	}
	return status == UFM_OK ? e->b->stream_wait(stream, l->end) : status;
}
