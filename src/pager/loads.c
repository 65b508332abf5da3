/* SPDX-License-Identifier: MIT */
/* The ring of copies. */
#include "pager/loads.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "schedule/judge.h"

static load *load_at(loads *l, uint64_t number)
{
	return &l->ring[number % PAGER_LOADS];
}

ufm_status loads_open(loads *l)
{
	l->next = l->oldest = 1;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < PAGER_LOADS && status == UFM_OK; i++) {
		load *r = &l->ring[i];
		status = l->b->event_open(l->device, &r->begin);
		if (status == UFM_OK)
			status = l->b->event_open(l->device, &r->end);
		if (status == UFM_OK)
			status = l->b->event_open(l->device, &r->wait);
	}
	return status;
}

void loads_close(loads *l)
{
	for (uint32_t i = 0; i < PAGER_LOADS; i++) {
		load *r = &l->ring[i];
		ufm_event *events[] = {r->begin, r->end, r->wait};
		for (uint32_t j = 0; j < 3; j++) {
			if (events[j])
				l->b->event_close(events[j]);
		}
		*r = (load){0};
	}
}

static void account(loads *l, const load *r)
{
	uint64_t elapsed_ns = 0;
	if (l->b->event_elapsed(r->begin, r->end, &elapsed_ns) == UFM_OK) {
		uint64_t each_ns = elapsed_ns / r->count;
		counter_add(l->counters, COUNTER_copy_ns, elapsed_ns);
		l->copy_ns = l->copy_ns ? (3 * l->copy_ns + each_ns) / 4 : each_ns;
	}
	if (r->waited && l->b->event_elapsed(r->wait, r->end, &elapsed_ns) == UFM_OK)
		counter_add(l->counters, COUNTER_stall_ns, elapsed_ns);
}

/* The stall begins where the compute stream began to wait. */
static void tell_timeline(const loads *l, const load *r)
{
	timeline_span copy = {.layer = r->items[0].key / l->experts,
	                      .expert = r->count == 1 ? r->items[0].key % l->experts : TIMELINE_NONE,
	                      .experts = r->count,
	                      .bytes = r->count * l->expert_bytes};
	copy_events events = {r->begin, r->end, r->waited ? r->wait : NULL};
	spans_copy(l->spans, &copy, &events);
}

static void retire(loads *l, load *r)
{
	account(l, r);
	tell_timeline(l, r);
	for (uint32_t i = 0; i < r->count; i++) {
		const load_item *item = &r->items[i];
		cache_loaded(l->cache, item->slot, item->generation);
		if (l->slab->uses[item->slot].load == r->number)
			l->slab->uses[item->slot].load = 0;
	}
}

static bool ended(const loads *l, const load *r)
{
	int end = 0, wait = 1;
	if (r->waited && r->after <= l->marks->passed)
		return true;
	if (l->b->event_query(r->end, &end) != UFM_OK)
		return false;
	if (r->waited && l->b->event_query(r->wait, &wait) != UFM_OK)
		return false;
	return end && wait;
}

void loads_step(loads *l)
{
	while (l->oldest < l->next) {
		load *r = load_at(l, l->oldest);
		if (!ended(l, r))
			return;
		retire(l, r);
		l->oldest++;
	}
}

ufm_status loads_has_ended(loads *l, uint64_t number, bool *out)
{
	int done = 1;
	ufm_status status = UFM_OK;
	if (number >= l->oldest)
		status = l->b->event_query(load_at(l, number)->end, &done);
	*out = done;
	return status;
}

ufm_event *loads_awaited(loads *l)
{
	load *oldest = load_at(l, l->oldest);
	return l->oldest < l->next && oldest->waited ? oldest->end : NULL;
}

/* Waits for the oldest copy in flight. */
static ufm_status retire_oldest(loads *l)
{
	load *oldest = load_at(l, l->oldest);
	ufm_status status = l->b->event_sync(oldest->end, UFM_WAIT_FOREVER);
	if (status == UFM_OK && oldest->waited)
		status = l->b->event_sync(oldest->wait, UFM_WAIT_FOREVER);
	if (status != UFM_OK)
		return status;
	retire(l, oldest);
	l->oldest++;
	return UFM_OK;
}

ufm_status loads_drain(loads *l)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && l->oldest < l->next)
		status = retire_oldest(l);
	return status;
}

/* A free record; waits for the oldest copy when all are in flight. */
static ufm_status next_record(loads *l, load **out)
{
	loads_step(l);
	if (l->next - l->oldest == PAGER_LOADS) {
		ufm_status status = retire_oldest(l);
		if (status != UFM_OK)
			return status;
	}
	*out = load_at(l, l->next);
	return UFM_OK;
}

static ufm_status copy_blocks(const loads *l, const ufm_devptr *to, const ufm_devptr *from,
                              uint32_t n)
{
	if (n == 1)
		return l->b->copy(l->copy, UFM_COPY_H2D, to[0], from[0], l->expert_bytes);
	ufm_copies_args args = {
		.kind = UFM_COPY_H2D, .count = n, .dst = to, .src = from, .size_bytes = l->expert_bytes};
	return l->b->copies(l->copy, &args);
}

static ufm_status copy_items(const loads *l, const load *r)
{
	ufm_devptr to[BUDGET_TOGETHER], from[BUDGET_TOGETHER];
	for (uint32_t i = 0; i < r->count; i++) {
		to[i] = slot_address(l->slab, r->items[i].slot);
		from[i] = (ufm_devptr)(uintptr_t)host_block(l->host, r->items[i].key);
	}
	return copy_blocks(l, to, from, r->count);
}

/* The copy comes after the last use of every slot: in stream order, without a wait of the host. */
static ufm_status enqueue(loads *l, const load *r)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < r->count && status == UFM_OK; i++) {
		uint32_t slot = r->items[i].slot;
		status = mark_order(l->marks, l->copy, l->slab->uses[slot].mark);
		if (status == UFM_OK)
			status = slots_poison(l->slab, slot, 1);
	}
	if (status == UFM_OK)
		status = l->b->event_record(r->begin, l->copy);
	if (status == UFM_OK)
		status = copy_items(l, r);
	if (status == UFM_OK)
		status = l->b->event_record(r->end, l->copy);
	return status;
}

/* Experts that were given slots, before their copy starts. */
typedef struct placed {
	uint32_t count, evictions, bypasses;
	load_item items[BUDGET_TOGETHER];
	uint32_t undecided; /* keys that have slots of which the policy has not heard */
	uint32_t keys[BUDGET_TOGETHER];
} placed;

/* Whoever loses the slot is forgotten before it is overwritten. */
static ufm_status take_slot(loads *l, uint32_t key, const cache_placement *place, placed *p)
{
	p->items[p->count++] =
		(load_item){.slot = place->slot, .generation = place->generation, .key = key};
	slots_publish(l->slab);
	if (place->evicted_key == UFM_KEY_NONE)
		return UFM_OK;
	p->evictions++;
	return table_forget(l->tables, place->evicted_key);
}

uint64_t loads_busy_ns(loads *l)
{
	uint64_t now_ns = clock_now_ns();
	return l->oldest < l->next && l->busy_until_ns > now_ns ? l->busy_until_ns - now_ns : 0;
}

static void expect_end(loads *l, uint32_t experts)
{
	uint64_t begin_ns = clock_now_ns() + loads_busy_ns(l);
	l->busy_until_ns = begin_ns + experts * l->copy_ns;
}

static ufm_status start(loads *l, const placed *p)
{
	load *r;
	ufm_status status = next_record(l, &r);
	if (status != UFM_OK)
		return status;
	r->number = l->next;
	r->waited = false;
	r->count = p->count;
	memcpy(r->items, p->items, p->count * sizeof *p->items);
	status = enqueue(l, r);
	if (status != UFM_OK)
		return status;
	l->next++;
	expect_end(l, p->count);
	for (uint32_t i = 0; i < p->count; i++)
		l->slab->uses[p->items[i].slot] = (slot_use){.load = r->number};
	counter_add(l->counters, COUNTER_copies, 1);
	counter_add(l->counters, COUNTER_h2d_weight_bytes, p->count * l->expert_bytes);
	counter_add(l->counters, COUNTER_evictions, p->evictions);
	return UFM_OK;
}

/* The slots, which nobody may have pinned, are free again. */
static ufm_status give_back(loads *l, ufm_status status, const placed *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		cache_load_failed(l->cache, p->items[i].slot, p->items[i].generation);
		l->slab->uses[p->items[i].slot].owed = false;
	}
	slots_publish(l->slab);
	return status_prefix(status, "copying expert %u of layer %u%s to the device",
	                     p->items[0].key % l->experts,
	                     host_layer_number(l->host, p->items[0].key / l->experts),
	                     p->count > 1 ? " and others" : "");
}

ufm_status loads_start(loads *l, uint32_t key, const cache_placement *place)
{
	placed p = {0};
	ufm_status status = take_slot(l, key, place, &p);
	if (status == UFM_OK)
		status = start(l, &p);
	return status == UFM_OK ? UFM_OK : give_back(l, status, &p);
}

/* A slot that was given before, whose tenant waits for its copy. */
static void take_tenant(const loads *l, uint32_t slot, placed *p)
{
	cache_slot view;
	cache_get_slot(l->cache, slot, &view);
	assert(l->slab->uses[slot].owed);
	p->items[p->count++] =
		(load_item){.slot = slot, .generation = view.generation, .key = view.key};
}

ufm_status loads_fill(loads *l, const uint32_t *slots, uint32_t n)
{
	placed p = {0};
	for (uint32_t i = 0; i < n; i++)
		take_tenant(l, slots[i], &p);
	ufm_status status = start(l, &p);
	return status == UFM_OK ? UFM_OK : give_back(l, status, &p);
}

static ufm_status place_in_turn(loads *l, admit_turn *turn, uint32_t key, cache_placement *place)
{
	ufm_status status = judge_place(l->cache, turn, key, place);
	assert(status != UFM_OK || place->slot != SLOT_NONE);
	return status;
}

ufm_status loads_label(loads *l, admit_turn *turn, uint32_t key, cache_placement *place)
{
	placed p = {0};
	ufm_status status = place_in_turn(l, turn, key, place);
	if (status != UFM_OK)
		return status;
	status = take_slot(l, key, place, &p);
	counter_add(l->counters, COUNTER_evictions, p.evictions);
	return status == UFM_OK ? UFM_OK : give_back(l, status, &p);
}

static void decide(const loads *l, admit_turn *turn, placed *p)
{
	for (uint32_t i = 0; i < p->undecided; i++)
		p->bypasses += !judge_decide(l->cache, turn, p->keys[i]);
	p->undecided = 0;
}

static ufm_status place_one(loads *l, admit_turn *turn, uint32_t key, placed *p)
{
	cache_placement place;
	uint32_t slot = cache_find(l->cache, key);
	if (slot != SLOT_NONE) {
		take_tenant(l, slot, p);
		cache_pin(l->cache, slot);
		return UFM_OK;
	}
	if (judge_reserve(l->cache, turn, key, &place)) {
		p->keys[p->undecided++] = key;
	} else {
		decide(l, turn, p);
		ufm_status status = place_in_turn(l, turn, key, &place);
		if (status != UFM_OK)
			return status;
		p->bypasses += !place.kept;
	}
	cache_pin(l->cache, place.slot);
	return take_slot(l, key, &place, p);
}

/* Each is pinned at once, so that the next one is placed elsewhere. */
static ufm_status place_all(loads *l, admit_turn *turn, const uint32_t *keys, uint32_t n, placed *p)
{
	for (uint32_t i = 0; i < n; i++) {
		ufm_status status = place_one(l, turn, keys[i], p);
		if (status == UFM_EBUSY && i)
			return UFM_OK;
		if (status != UFM_OK)
			return status;
	}
	return UFM_OK;
}

/* The copy starts before the policy is asked: what it thinks about changes labels, not where bytes go. */
ufm_status loads_place(loads *l, admit_turn *turn, const uint32_t *keys, uint32_t n,
                       uint32_t *slots, uint32_t *count)
{
	placed p = {0};
	ufm_status status = place_all(l, turn, keys, n, &p);
	if (status == UFM_OK)
		status = start(l, &p);
	if (status != UFM_OK) {
		for (uint32_t i = 0; i < p.count; i++)
			cache_unpin(l->cache, p.items[i].slot);
		return p.count ? give_back(l, status, &p) : status;
	}
	decide(l, turn, &p);
	for (uint32_t i = 0; i < p.count; i++)
		slots[i] = p.items[i].slot;
	counter_add(l->counters, COUNTER_bypasses, p.bypasses);
	*count = p.count;
	return UFM_OK;
}

ufm_status loads_order(loads *l, uint32_t slot, ufm_stream *stream, bool measure)
{
	uint64_t number = l->slab->uses[slot].load;
	if (number == 0)
		return UFM_OK;
	load *r = load_at(l, number);
	if (measure && r->waited)
		return UFM_OK; /* since it waited for another expert of the same copy */
	ufm_status status = measure ? l->b->event_record(r->wait, stream) : UFM_OK;
	if (status == UFM_OK)
		status = l->b->stream_wait(stream, r->end);
	if (status == UFM_OK && measure) {
		r->waited = true;
		r->after = l->marks->next;
	}
	return status;
}
