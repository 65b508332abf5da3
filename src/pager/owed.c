/* SPDX-License-Identifier: MIT */
/* A queue of slots. An entry is stale when the slot was filled for a demand, or has another tenant by now. */
#include "pager/owed.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/clock.h"

/* A pause that is longer says nothing of the next one: the caller had nothing to compute. */
#define PAUSE_NS_MAX 5000000u

ufm_status owed_open(owed *o, uint32_t slots_max)
{
	for (o->room = 1; o->room < slots_max;)
		o->room *= 2;
	o->items = alloc_zeroed(o->room, sizeof *o->items);
	return o->items ? UFM_OK : UFM_ENOMEM;
}

void owed_close(owed *o)
{
	alloc_free(o->items);
}

bool slot_is_owed(const slab *s, uint32_t slot)
{
	return s->uses[slot].owed;
}

/* ------------------------------------------------------------------ the queue */

static bool is_stale(const owed *o, const owed_item *item)
{
	cache_slot view;
	cache_get_slot(o->cache, item->slot, &view);
	return !slot_is_owed(o->slab, item->slot) || view.generation != item->generation;
}

static owed_item *item_at(const owed *o, uint64_t number)
{
	return &o->items[number % o->room];
}

/* A slot has at most one entry that is not stale, so there is room once the others are gone. */
static void drop_stale(owed *o)
{
	uint64_t kept = o->oldest;
	for (uint64_t i = o->oldest; i < o->next; i++) {
		if (!is_stale(o, item_at(o, i)))
			*item_at(o, kept++) = *item_at(o, i);
	}
	o->next = kept;
	assert(o->next - o->oldest < o->room);
}

static void push(owed *o, const owed_item *item)
{
	if (o->next - o->oldest == o->room)
		drop_stale(o);
	*item_at(o, o->next++) = *item;
}

/* Whether there is something to copy that may be, after what is stale was dropped. */
static bool is_ready(owed *o, bool even_if_cached)
{
	while (o->oldest < o->next && is_stale(o, item_at(o, o->oldest)))
		o->oldest++;
	if (o->oldest == o->next)
		return false;
	return even_if_cached || !o->pool || assist_forgotten(o->pool, item_at(o, o->oldest)->forget);
}

/* ------------------------------------------------------------------ admission */

/* The slot's last use stays: whoever fills it comes after that. A copy that is still on its way to it belonged to the
 * tenant before, and the next one follows it on the same stream. */
ufm_status owed_admit(owed *o, admit_turn *turn, uint32_t key, const void *block)
{
	cache_placement place;
	ufm_status status = loads_label(o->loads, turn, key, &place);
	if (status != UFM_OK)
		return status;
	slot_use *use = &o->slab->uses[place.slot];
	use->load = 0;
	use->owed = place.kept;
	if (place.kept)
		push(o, &(owed_item){.slot = place.slot,
		                     .generation = place.generation,
		                     .forget = o->pool ? assist_forget(o->pool, block) : 0});
	return UFM_OK;
}

/* ------------------------------------------------------------------ copies */

static ufm_status start(owed *o, uint32_t together, bool even_if_cached)
{
	uint32_t slots[BUDGET_TOGETHER], n = 0;
	while (n < together && is_ready(o, even_if_cached))
		slots[n++] = item_at(o, o->oldest++)->slot;
	if (n == 0)
		return UFM_OK;
	ufm_status status = loads_fill(o->loads, slots, n);
	if (status == UFM_OK)
		counter_add(o->counters, COUNTER_admitted_loads, n);
	return status;
}

void owed_enter(owed *o)
{
	uint64_t pause_ns = clock_now_ns() - o->left_ns;
	o->had_rest = o->left_ns == 0 || pause_ns > PAUSE_NS_MAX;
	if (!o->had_rest)
		o->pause_ns = (7 * o->pause_ns + pause_ns) / 8;
}

bool owed_had_rest(const owed *o)
{
	return o->had_rest;
}

ufm_status owed_step(owed *o, uint32_t together)
{
	if (!is_ready(o, false))
		return UFM_OK;
	loads_step(o->loads);
	bool idle = o->loads->oldest == o->loads->next;
	return idle ? start(o, together, false) : UFM_OK;
}

static bool fits_the_pause(const owed *o, uint32_t together)
{
	uint64_t copy_ns = o->loads->copy_ns;
	return copy_ns && loads_busy_ns(o->loads) + together * copy_ns < o->pause_ns;
}

/* Those that end before the next layer call comes, and one when more wait than the next call with work for the CPU
 * may have time for. */
ufm_status owed_leave(owed *o, uint32_t together)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && is_ready(o, false) && fits_the_pause(o, together))
		status = start(o, together, false);
	if (status == UFM_OK && o->next - o->oldest > OWED_WAITING_MAX)
		status = owed_step(o, together);
	o->left_ns = clock_now_ns();
	return status;
}

ufm_status owed_start_all(owed *o)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && is_ready(o, true))
		status = start(o, BUDGET_TOGETHER, true);
	return status;
}
