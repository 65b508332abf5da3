/* SPDX-License-Identifier: MIT */
/* Copies of experts to the device, kept in a ring of records until they have ended. */
#include <assert.h>
#include <string.h>

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
		uint64_t each_ns = elapsed_ns / l->count;
		counter_add(&e->counters, COUNTER_copy_ns, elapsed_ns);
		e->copy_ns = e->copy_ns ? (3 * e->copy_ns + each_ns) / 4 : each_ns;
	}
	if (l->waited && e->b->event_elapsed(l->wait, l->end, &elapsed_ns) == UFM_OK)
		counter_add(&e->counters, COUNTER_stall_ns, elapsed_ns);
}

static void retire(ufm_engine *e, load *l)
{
	account(e, l);
	spans_load(e, l);
	for (uint32_t i = 0; i < l->count; i++) {
		const load_item *item = &l->items[i];
		cache_loaded(e->cache, item->slot, item->generation);
		if (e->uses[item->slot].load == l->number)
			e->uses[item->slot].load = 0;
	}
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

ufm_status loads_copy(ufm_engine *e, const ufm_devptr *to, const ufm_devptr *from, uint32_t n)
{
	if (n == 1)
		return e->b->copy(e->copy, UFM_COPY_H2D, to[0], from[0], e->desc.expert_bytes);
	ufm_copies_args args = {.kind = UFM_COPY_H2D,
	                        .count = n,
	                        .dst = to,
	                        .src = from,
	                        .size_bytes = e->desc.expert_bytes};
	return e->b->copies(e->copy, &args);
}

static ufm_status copy_items(ufm_engine *e, const load *l)
{
	ufm_devptr to[PAGER_TOGETHER], from[PAGER_TOGETHER];
	for (uint32_t i = 0; i < l->count; i++) {
		to[i] = slot_address(e, l->items[i].slot);
		from[i] = (ufm_devptr)(uintptr_t)host_block(e->host, l->items[i].key);
	}
	return loads_copy(e, to, from, l->count);
}

/* The copy comes after the last use of every slot: in stream order, without a wait of the host. */
static ufm_status enqueue(ufm_engine *e, const load *l)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < l->count && status == UFM_OK; i++) {
		uint32_t slot = l->items[i].slot;
		status = mark_order(e, e->copy, e->uses[slot].mark);
		if (status == UFM_OK)
			status = slots_poison(e, slot, 1);
	}
	if (status == UFM_OK)
		status = e->b->event_record(l->begin, e->copy);
	if (status == UFM_OK)
		status = copy_items(e, l);
	if (status == UFM_OK)
		status = e->b->event_record(l->end, e->copy);
	return status;
}

/* Experts that were given slots, before their copy starts. */
typedef struct placed {
	uint32_t count, evictions;
	load_item items[PAGER_TOGETHER];
} placed;

/* Whoever loses the slot is forgotten before it is overwritten. */
static ufm_status take_slot(ufm_engine *e, uint32_t key, const cache_placement *place, placed *p)
{
	p->items[p->count++] =
		(load_item){.slot = place->slot, .generation = place->generation, .key = key};
	slots_publish(e);
	if (place->evicted_key == UFM_KEY_NONE)
		return UFM_OK;
	p->evictions++;
	return resident_forget(e, place->evicted_key);
}

static ufm_status start(ufm_engine *e, const placed *p)
{
	load *l;
	ufm_status status = next_record(e, &l);
	if (status != UFM_OK)
		return status;
	l->number = e->load_next;
	l->waited = false;
	l->count = p->count;
	memcpy(l->items, p->items, p->count * sizeof *p->items);
	status = enqueue(e, l);
	if (status != UFM_OK)
		return status;
	e->load_next++;
	for (uint32_t i = 0; i < p->count; i++)
		e->uses[p->items[i].slot] = (slot_use){.load = l->number};
	counter_add(&e->counters, COUNTER_copies, 1);
	counter_add(&e->counters, COUNTER_h2d_weight_bytes, p->count * e->desc.expert_bytes);
	counter_add(&e->counters, COUNTER_evictions, p->evictions);
	return UFM_OK;
}

/* The slots, which nobody may have pinned, are free again. */
static ufm_status give_back(ufm_engine *e, ufm_status status, const placed *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		cache_load_failed(e->cache, p->items[i].slot, p->items[i].generation);
	slots_publish(e);
	return status_prefix(status, "copying expert %u of layer %u%s to the device",
	                     p->items[0].key % e->experts, p->items[0].key / e->experts,
	                     p->count > 1 ? " and others" : "");
}

ufm_status loads_start(ufm_engine *e, uint32_t key, const cache_placement *place)
{
	placed p = {0};
	ufm_status status = take_slot(e, key, place, &p);
	if (status == UFM_OK)
		status = start(e, &p);
	return status == UFM_OK ? UFM_OK : give_back(e, status, &p);
}

/* Each is pinned at once, so that the next one is placed elsewhere. */
static ufm_status place_all(ufm_engine *e, const uint32_t *keys, uint32_t n, placed *p,
                            uint32_t *bypasses)
{
	for (uint32_t i = 0; i < n; i++) {
		cache_placement place;
		ufm_status status = cache_place(e->cache, keys[i], &place);
		if (status == UFM_EBUSY && i)
			return UFM_OK;
		if (status != UFM_OK)
			return status;
		assert(place.slot != SLOT_NONE);
		*bypasses += !place.kept;
		cache_pin(e->cache, place.slot);
		status = take_slot(e, keys[i], &place, p);
		if (status != UFM_OK)
			return status;
	}
	return UFM_OK;
}

ufm_status loads_place(ufm_engine *e, const uint32_t *keys, uint32_t n, uint32_t *slots,
                       uint32_t *count)
{
	placed p = {0};
	uint32_t bypasses = 0;
	ufm_status status = place_all(e, keys, n, &p, &bypasses);
	if (status == UFM_OK)
		status = start(e, &p);
	if (status != UFM_OK) {
		for (uint32_t i = 0; i < p.count; i++)
			cache_unpin(e->cache, p.items[i].slot);
		return p.count ? give_back(e, status, &p) : status;
	}
	for (uint32_t i = 0; i < p.count; i++)
		slots[i] = p.items[i].slot;
	counter_add(&e->counters, COUNTER_bypasses, bypasses);
	*count = p.count;
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
