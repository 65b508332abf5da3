/* SPDX-License-Identifier: MIT */
/* Leases and hints. */
#include "pager/leases.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "pager/key.h"

/* What the ring holds is left to layer calls, so that they always make progress. With everything
 * resident there is no ring and nothing to leave. */
static uint32_t lease_max(const leases *l)
{
	return l->plan->slots - l->plan->ring;
}

ufm_status leases_open(leases *l, ufm_engine *owner)
{
	lock_cond_init(&l->released);
	l->members = alloc_zeroed(l->experts, sizeof *l->members);
	l->seen = alloc_zeroed(l->experts, sizeof *l->seen);
	if (!l->members || !l->seen)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < PAGER_LEASES; i++) {
		l->items[i].engine = owner;
		l->items[i].slots = alloc_zeroed(l->experts, sizeof(uint32_t));
		if (!l->items[i].slots)
			return UFM_ENOMEM;
	}
	return UFM_OK;
}

void leases_close(leases *l)
{
	lock_cond_destroy(&l->released);
	for (uint32_t i = 0; i < PAGER_LEASES; i++)
		alloc_free(l->items[i].slots);
	alloc_free(l->members);
	alloc_free(l->seen);
}

ufm_status leases_check_layer(const leases *l, uint32_t layer)
{
	if (layer < l->layers)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "layer: %u, expected less than %u", layer, l->layers);
}

/* Fills the members, refusing duplicates and unknown ids; needs the lock for its scratch. */
static ufm_status read_members(leases *l, const uint32_t *experts, uint32_t n)
{
	memset(l->seen, 0, l->experts);
	for (uint32_t i = 0; i < n; i++) {
		if (experts[i] >= l->experts)
			return status_fail(UFM_EINVAL, "expert: %u, expected less than %u", experts[i],
			                   l->experts);
		if (l->seen[experts[i]]++)
			return status_fail(UFM_EINVAL, "expert %u is asked for twice in one lease", experts[i]);
		l->members[i] = (cache_member){.expert = experts[i], .tokens = 1, .next_event = UFM_NEVER};
	}
	return UFM_OK;
}

/* All or nothing: whether enough slots can be had, before anything changes. With a ring one slot
 * stays without a pin, for the next copy of a layer call in progress. */
static bool enough_slots(const leases *l, uint32_t layer, uint32_t n)
{
	uint32_t missing = 0, idle_hits = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = cache_find(l->cache, key_of(l->experts, layer, l->members[i].expert));
		cache_slot view = {.pins = 1};
		if (slot == SLOT_NONE)
			missing++;
		else
			cache_get_slot(l->cache, slot, &view);
		idle_hits += view.pins == 0;
	}
	cache_stats stats;
	cache_get_stats(l->cache, &stats);
	return missing + idle_hits + (stats.ring != 0) <= stats.slots - stats.pinned;
}

static void pin_hits(leases *l, uint32_t layer, ufm_lease *lease, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = cache_find(l->cache, key_of(l->experts, layer, l->members[i].expert));
		bool late = slot != SLOT_NONE && l->slab->uses[slot].owed;
		lease->slots[i] = late ? SLOT_NONE : slot;
		counter_add(l->counters, COUNTER_late_uses, late);
		if (lease->slots[i] == SLOT_NONE)
			continue;
		cache_pin(l->cache, lease->slots[i]);
		counter_add(l->counters, COUNTER_resident_uses, 1);
	}
}

static ufm_status load_misses(leases *l, uint32_t layer, ufm_lease *lease, uint32_t n)
{
	uint32_t keys[BUDGET_TOGETHER], slots[BUDGET_TOGETHER], index[BUDGET_TOGETHER] = {0};
	admit_turn turn = admit_freely();
	for (uint32_t next = 0;;) {
		uint32_t count = 0, got;
		for (; next < n && count < l->plan->together; next++) {
			if (lease->slots[next] != SLOT_NONE)
				continue;
			keys[count] = key_of(l->experts, layer, l->members[next].expert);
			index[count++] = next;
		}
		if (count == 0)
			return UFM_OK;
		ufm_status status = loads_place(l->loads, &turn, keys, count, slots, &got);
		if (status != UFM_OK)
			return status;
		for (uint32_t i = 0; i < got; i++)
			lease->slots[index[i]] = slots[i];
		counter_add(l->counters, COUNTER_streamed_uses, got);
		if (got < count)
			next = index[got];
	}
}

static void unpin_all(leases *l, ufm_lease *lease, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (lease->slots[i] != SLOT_NONE)
			cache_unpin(l->cache, lease->slots[i]);
		else
			counter_add(l->counters, COUNTER_failed_uses, 1);
	}
}

static ufm_status fill_lease(leases *l, uint32_t layer, ufm_lease *lease, uint32_t n)
{
	counter_add(l->counters, COUNTER_calls, 1);
	counter_add(l->counters, COUNTER_uses, n);
	cache_event_begin(l->cache, layer, l->members, n);
	pin_hits(l, layer, lease, n);
	ufm_status status = load_misses(l, layer, lease, n);
	cache_event_end(l->cache, layer, l->members, n);
	if (status != UFM_OK)
		unpin_all(l, lease, n);
	return status;
}

static ufm_lease *free_lease(leases *l)
{
	for (uint32_t i = 0; i < PAGER_LEASES; i++) {
		if (!l->items[i].taken)
			return &l->items[i];
	}
	return NULL;
}

ufm_status leases_acquire(leases *l, uint32_t layer, const uint32_t *experts, uint32_t n,
                          ufm_lease **out)
{
	if (n == 0 || n > lease_max(l))
		return status_fail(UFM_EINVAL, "n: %u experts, expected 1 to %u (ufm_engine_lease_max)", n,
		                   lease_max(l));
	ufm_status status = read_members(l, experts, n);
	if (status != UFM_OK)
		return status;
	loads_step(l->loads);
	ufm_lease *lease = free_lease(l);
	if (!lease || l->leased + n > lease_max(l) || !enough_slots(l, layer, n))
		return status_fail(UFM_EBUSY,
		                   "%u experts asked, %u leased of at most %u in at most %u leases", n,
		                   l->leased, lease_max(l), PAGER_LEASES);
	status = fill_lease(l, layer, lease, n);
	if (status != UFM_OK)
		return status;
	lease->taken = true;
	lease->n = n;
	l->leased += n;
	*out = lease;
	return UFM_OK;
}

ufm_status leases_order(leases *l, const ufm_lease *lease, ufm_stream *stream)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < lease->n && status == UFM_OK; i++)
		status = loads_order(l->loads, lease->slots[i], stream, false);
	return status;
}

ufm_status leases_release(leases *l, ufm_lease *lease, ufm_stream *stream)
{
	ufm_status status = UFM_OK;
	if (stream)
		status = slots_used_by(l->slab, stream, lease->slots, lease->n);
	else
		unpin_all(l, lease, lease->n);
	l->leased -= lease->n;
	lease->taken = false;
	lock_wake_all(&l->released);
	return status;
}

static ufm_status count_hint(leases *l, ufm_status status)
{
	if (status == UFM_OK)
		counter_add(l->counters, COUNTER_prefetch_loads, 1);
	return status;
}

static ufm_status prefetch_one(leases *l, uint32_t key)
{
	cache_placement place;
	uint32_t slot = cache_find(l->cache, key);
	if (slot != SLOT_NONE && !l->slab->uses[slot].owed)
		return UFM_OK;
	if (slot != SLOT_NONE)
		return count_hint(l, loads_fill(l->loads, &slot, 1));
	if (cache_place_free(l->cache, key, &place) != UFM_OK) {
		counter_add(l->counters, COUNTER_prefetch_dropped, 1);
		return UFM_OK;
	}
	slots_publish(l->slab);
	return count_hint(l, loads_start(l->loads, key, &place));
}

ufm_status leases_hint(leases *l, uint32_t layer, uint32_t expert)
{
	if (expert >= l->experts)
		return status_fail(UFM_EINVAL, "expert: %u, expected less than %u", expert, l->experts);
	return prefetch_one(l, key_of(l->experts, layer, expert));
}
