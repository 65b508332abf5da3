/* SPDX-License-Identifier: MIT */
/* The pager level: leases and hints. */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "pager/pager_int.h"

/* What the ring holds is left to layer calls, so that they always make progress. With everything
 * resident there is no ring and nothing to leave. */
uint32_t lease_max(const ufm_engine *e)
{
	return e->plan.slots - e->plan.ring;
}

ufm_status leases_open(ufm_engine *e)
{
	for (uint32_t i = 0; i < PAGER_LEASES; i++) {
		e->leases[i].engine = e;
		e->leases[i].slots = alloc_zeroed(e->experts, sizeof(uint32_t));
		if (!e->leases[i].slots)
			return UFM_ENOMEM;
	}
	return UFM_OK;
}

void leases_close(ufm_engine *e)
{
	for (uint32_t i = 0; i < PAGER_LEASES; i++)
		alloc_free(e->leases[i].slots);
}

static ufm_status check_layer(const ufm_engine *e, uint32_t layer)
{
	if (layer < e->layers)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "layer: %u, expected less than %u", layer, e->layers);
}

/* Fills the members, refusing duplicates and unknown ids; needs the lock for its scratch. */
static ufm_status read_members(ufm_engine *e, const uint32_t *experts, uint32_t n)
{
	memset(e->seen, 0, e->experts);
	for (uint32_t i = 0; i < n; i++) {
		if (experts[i] >= e->experts)
			return status_fail(UFM_EINVAL, "expert: %u, expected less than %u", experts[i],
			                   e->experts);
		if (e->seen[experts[i]]++)
			return status_fail(UFM_EINVAL, "expert %u is asked for twice in one lease", experts[i]);
		e->lease_members[i] =
			(cache_member){.expert = experts[i], .tokens = 1, .next_event = UFM_NEVER};
	}
	return UFM_OK;
}

/* All or nothing: whether enough slots can be had, before anything changes. With a ring one slot stays
 * without a pin, for the next copy of a layer call in progress. */
static bool enough_slots(const ufm_engine *e, uint32_t layer, uint32_t n)
{
	uint32_t missing = 0, idle_hits = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = cache_find(e->cache, layer * e->experts + e->lease_members[i].expert);
		cache_slot view = {.pins = 1};
		if (slot == SLOT_NONE)
			missing++;
		else
			cache_get_slot(e->cache, slot, &view);
		idle_hits += view.pins == 0;
	}
	cache_stats stats;
	cache_get_stats(e->cache, &stats);
	return missing + idle_hits + (stats.ring != 0) <= stats.slots - stats.pinned;
}

static void pin_hits(ufm_engine *e, uint32_t layer, ufm_lease *lease, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		lease->slots[i] = cache_find(e->cache, layer * e->experts + e->lease_members[i].expert);
		if (lease->slots[i] == SLOT_NONE)
			continue;
		cache_pin(e->cache, lease->slots[i]);
		counter_add(&e->counters, COUNTER_resident_uses, 1);
	}
}

static ufm_status load_misses(ufm_engine *e, uint32_t layer, ufm_lease *lease, uint32_t n)
{
	uint32_t keys[PAGER_TOGETHER], slots[PAGER_TOGETHER], index[PAGER_TOGETHER] = {0};
	for (uint32_t next = 0;;) {
		uint32_t count = 0, got;
		for (; next < n && count < e->plan.together; next++) {
			if (lease->slots[next] != SLOT_NONE)
				continue;
			keys[count] = layer * e->experts + e->lease_members[next].expert;
			index[count++] = next;
		}
		if (count == 0)
			return UFM_OK;
		ufm_status status = loads_place(e, keys, count, slots, &got);
		if (status != UFM_OK)
			return status;
		for (uint32_t i = 0; i < got; i++)
			lease->slots[index[i]] = slots[i];
		counter_add(&e->counters, COUNTER_streamed_uses, got);
		if (got < count)
			next = index[got];
	}
}

static void unpin_all(ufm_engine *e, ufm_lease *lease, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (lease->slots[i] != SLOT_NONE)
			cache_unpin(e->cache, lease->slots[i]);
		else
			counter_add(&e->counters, COUNTER_failed_uses, 1);
	}
}

static ufm_status fill_lease(ufm_engine *e, uint32_t layer, ufm_lease *lease, uint32_t n)
{
	counter_add(&e->counters, COUNTER_calls, 1);
	counter_add(&e->counters, COUNTER_uses, n);
	cache_event_begin(e->cache, layer, e->lease_members, n);
	pin_hits(e, layer, lease, n);
	ufm_status status = load_misses(e, layer, lease, n);
	cache_event_end(e->cache, layer, e->lease_members, n);
	if (status != UFM_OK)
		unpin_all(e, lease, n);
	return status;
}

static ufm_lease *free_lease(ufm_engine *e)
{
	for (uint32_t i = 0; i < PAGER_LEASES; i++) {
		if (!e->leases[i].taken)
			return &e->leases[i];
	}
	return NULL;
}

static ufm_status acquire(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n,
                          ufm_lease **out)
{
	if (n == 0 || n > lease_max(e))
		return status_fail(UFM_EINVAL, "n: %u experts, expected 1 to %u (ufm_engine_lease_max)", n,
		                   lease_max(e));
	ufm_status status = read_members(e, experts, n);
	if (status != UFM_OK)
		return status;
	loads_step(e);
	ufm_lease *lease = free_lease(e);
	if (!lease || e->leased + n > lease_max(e) || !enough_slots(e, layer, n))
		return status_fail(UFM_EBUSY,
		                   "%u experts asked, %u leased of at most %u in at most %u leases", n,
		                   e->leased, lease_max(e), PAGER_LEASES);
	status = fill_lease(e, layer, lease, n);
	if (status != UFM_OK)
		return status;
	lease->taken = true;
	lease->n = n;
	e->leased += n;
	*out = lease;
	return UFM_OK;
}

ufm_status ufm_acquire_begin(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n,
                             ufm_lease **out)
{
	ufm_status status = check_layer(e, layer);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	status = acquire(e, layer, experts, n, out);
	lock_drop(&e->lock);
	return status;
}

/* Every block is in host memory, so a stream can wait for every hop and the host never does. */
ufm_status ufm_acquire_ready(ufm_lease *lease, ufm_stream *stream, uint64_t wait_ns)
{
	(void)wait_ns;
	ufm_engine *e = lease->engine;
	ufm_status status = UFM_OK;
	if (!stream)
		return status_fail(UFM_EINVAL, "stream: NULL, expected one of ufm_stream_open");
	lock_take(&e->lock);
	for (uint32_t i = 0; i < lease->n && status == UFM_OK; i++)
		status = loads_order(e, lease->slots[i], stream, false);
	lock_drop(&e->lock);
	return status;
}

ufm_devptr ufm_lease_view(const ufm_lease *lease, uint32_t index)
{
	return index < lease->n ? slot_address(lease->engine, lease->slots[index]) : 0;
}

ufm_status ufm_release(ufm_lease *lease, ufm_stream *stream)
{
	ufm_engine *e = lease->engine;
	ufm_status status = UFM_OK;
	lock_take(&e->lock);
	if (stream)
		status = slots_used_by(e, stream, lease->slots, lease->n);
	else
		unpin_all(e, lease, lease->n);
	e->leased -= lease->n;
	lease->taken = false;
	lock_drop(&e->lock);
	return status;
}

static ufm_status prefetch_one(ufm_engine *e, uint32_t key)
{
	cache_placement place;
	if (cache_find(e->cache, key) != SLOT_NONE)
		return UFM_OK;
	if (cache_place_free(e->cache, key, &place) != UFM_OK) {
		counter_add(&e->counters, COUNTER_prefetch_dropped, 1);
		return UFM_OK;
	}
	slots_publish(e);
	ufm_status status = loads_start(e, key, &place);
	if (status == UFM_OK)
		counter_add(&e->counters, COUNTER_prefetch_loads, 1);
	return status;
}

ufm_status ufm_prefetch(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n)
{
	ufm_status status = check_layer(e, layer);
	lock_take(&e->lock);
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		if (experts[i] >= e->experts)
			status = status_fail(UFM_EINVAL, "expert: %u, expected less than %u", experts[i],
			                     e->experts);
		else
			status = prefetch_one(e, layer * e->experts + experts[i]);
	}
	lock_drop(&e->lock);
	return status;
}
