/* SPDX-License-Identifier: MIT */
/* One layer call's demand on the slots. */
#include "base/status.h"
#include "pager/pager_int.h"

static uint32_t key_of(const ufm_engine *e, uint32_t layer, uint32_t expert)
{
	return layer * e->experts + expert;
}

void engine_enter(ufm_engine *e)
{
	lock_take(&e->layer_lock);
}

void engine_leave(ufm_engine *e)
{
	lock_drop(&e->layer_lock);
}

static void begin_event(ufm_engine *e, uint32_t layer, const schedule_demand *demands, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		e->members[i] = (cache_member){
			.expert = demands[i].expert, .tokens = demands[i].tokens, .next_event = UFM_NEVER};
	e->layer = layer;
	e->member_count = n;
	e->accounted = 0;
	for (uint32_t i = 0; i < PAGER_WATCHED; i++)
		e->layer_loads[i] = 0;
	cache_event_begin(e->cache, layer, e->members, n);
}

/* Pins an expert that is in a slot. */
static void hold_resident(ufm_engine *e, uint32_t expert, uint32_t slot)
{
	cache_pin(e->cache, slot);
	e->held[expert] = slot;
	e->accounted++;
	counter_add(&e->counters, COUNTER_resident_uses, 1);
}

static ufm_status pin_residents(ufm_engine *e, uint32_t layer, schedule_demand *demands, uint32_t n)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		uint32_t slot = cache_find(e->cache, key_of(e, layer, demands[i].expert));
		demands[i].resident = slot != SLOT_NONE;
		if (slot == SLOT_NONE)
			continue;
		cache_slot view;
		cache_get_slot(e->cache, slot, &view);
		demands[i].refilled_next = view.in_ring;
		hold_resident(e, demands[i].expert, slot);
		status = loads_order(e, slot, e->compute, false);
	}
	return status;
}

/* When every slot is pinned, some by leases, the first launch must free one for the first miss: one
 * that this call alone has pinned. There is one, because leases leave as many slots as the ring has. */
static void free_one_early(ufm_engine *e, schedule_demand *demands, uint32_t n)
{
	cache_stats stats;
	cache_get_stats(e->cache, &stats);
	for (uint32_t i = 0; i < n && stats.pinned == stats.slots; i++) {
		cache_slot view = {0};
		if (demands[i].resident)
			cache_get_slot(e->cache, e->held[demands[i].expert], &view);
		if (view.pins == 1) {
			demands[i].refilled_next = true;
			return;
		}
	}
}

ufm_status pager_layer_begin(ufm_engine *e, uint32_t layer, schedule_demand *demands, uint32_t n)
{
	lock_take(&e->lock);
	loads_step(e);
	ufm_status status = resident_settle(e);
	counter_add(&e->counters, COUNTER_calls, 1);
	counter_add(&e->counters, COUNTER_uses, n);
	begin_event(e, layer, demands, n);
	if (status == UFM_OK)
		status = pin_residents(e, layer, demands, n);
	free_one_early(e, demands, n);
	lock_drop(&e->lock);
	return status;
}

/* The experts that are neither held nor in a slot, where a lease may have brought them since the layer
 * began. */
static uint32_t find_missing(ufm_engine *e, uint32_t layer, const schedule_demand *demands,
                             uint32_t n, uint32_t *keys, uint32_t *index)
{
	uint32_t missing = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t expert = demands[i].expert, key = key_of(e, layer, expert);
		if (e->held[expert] != SLOT_NONE)
			continue;
		uint32_t slot = cache_find(e->cache, key);
		if (slot != SLOT_NONE) {
			hold_resident(e, expert, slot);
			continue;
		}
		keys[missing] = key;
		index[missing++] = i;
	}
	return missing;
}

static void hold_streamed(ufm_engine *e, const schedule_demand *demands, const uint32_t *index,
                          const uint32_t *slots, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		e->held[demands[index[i]].expert] = slots[i];
	e->accounted += count;
	e->layer_loads[e->layer_load_next++ % PAGER_WATCHED] = e->uses[slots[0]].load;
	counter_add(&e->counters, COUNTER_streamed_uses, count);
}

/* The lock is held. */
static ufm_status hold(ufm_engine *e, uint32_t layer, const schedule_demand *demands, uint32_t n,
                       uint32_t *started)
{
	uint32_t keys[PAGER_TOGETHER], index[PAGER_TOGETHER] = {0}, slots[PAGER_TOGETHER], count = 0;
	uint32_t missing = find_missing(e, layer, demands, n, keys, index);
	*started = n;
	if (missing == 0)
		return UFM_OK;
	ufm_status status = loads_place(e, keys, missing, slots, &count);
	if (status == UFM_OK)
		hold_streamed(e, demands, index, slots, count);
	if (count < missing)
		*started = index[count];
	return status == UFM_EBUSY ? UFM_OK : status;
}

ufm_status pager_layer_start(ufm_engine *e, uint32_t layer, const schedule_demand *demands,
                             uint32_t n, uint32_t *started)
{
	lock_take(&e->lock);
	ufm_status status = hold(e, layer, demands, n, started);
	lock_drop(&e->lock);
	return status;
}

uint32_t pager_copies_together(const ufm_engine *e)
{
	return e->plan.together;
}

ufm_status pager_layer_full(uint32_t layer, uint32_t expert)
{
	return status_fail(UFM_EBUSY, "expert %u of layer %u: leases hold every slot", expert, layer);
}

ufm_status pager_layer_load(ufm_engine *e, uint32_t layer, uint32_t expert, ufm_devptr *block)
{
	schedule_demand demand = {.expert = expert};
	uint32_t started;
	lock_take(&e->lock);
	ufm_status status = hold(e, layer, &demand, 1, &started);
	uint32_t slot = e->held[expert];
	if (status == UFM_OK && started)
		status = loads_order(e, slot, e->compute, true);
	lock_drop(&e->lock);
	if (status == UFM_OK && !started)
		return pager_layer_full(layer, expert);
	if (status == UFM_OK)
		*block = slot_address(e, slot);
	return status;
}

ufm_status pager_layer_address(ufm_engine *e, uint32_t layer, uint32_t expert, ufm_devptr *block)
{
	if (e->held[expert] == SLOT_NONE)
		return status_fail(UFM_EINVAL, "expert %u of layer %u is not pinned", expert, layer);
	*block = slot_address(e, e->held[expert]);
	return UFM_OK;
}

/* held[] belongs to the one layer call in progress, so it is read without the engine's lock. */
ufm_status pager_layer_used(ufm_engine *e, uint32_t *experts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t expert = experts[i];
		experts[i] = e->held[expert];
		e->held[expert] = SLOT_NONE;
	}
	lock_take(&e->lock);
	ufm_status status = slots_used_by(e, e->compute, experts, n);
	lock_drop(&e->lock);
	return status;
}

uint32_t pager_free_slots(ufm_engine *e)
{
	cache_stats stats;
	lock_take(&e->lock);
	cache_get_stats(e->cache, &stats);
	lock_drop(&e->lock);
	return stats.free;
}

void pager_layer_on_cpu(ufm_engine *e, uint32_t n)
{
	lock_take(&e->lock);
	e->accounted += n;
	lock_drop(&e->lock);
	counter_add(&e->counters, COUNTER_cpu_uses, n);
}

const void *pager_layer_host(const ufm_engine *e, uint32_t layer, uint32_t expert)
{
	return host_block(e->host, key_of(e, layer, expert));
}

ufm_status pager_copies_in_flight(ufm_engine *e, uint32_t *copies)
{
	ufm_status status = UFM_OK;
	uint32_t pending = 0;
	lock_take(&e->lock);
	loads_step(e);
	for (uint32_t i = 0; i < PAGER_WATCHED && status == UFM_OK; i++) {
		bool ended;
		status = loads_has_ended(e, e->layer_loads[i], &ended);
		pending += !ended;
	}
	lock_drop(&e->lock);
	*copies = pending;
	return status;
}

uint64_t pager_copy_ns(ufm_engine *e)
{
	lock_take(&e->lock);
	uint64_t copy_ns = e->copy_ns;
	lock_drop(&e->lock);
	return copy_ns;
}

static void release_leftovers(ufm_engine *e)
{
	for (uint32_t i = 0; i < e->member_count; i++) {
		uint32_t *slot = &e->held[e->members[i].expert];
		if (*slot != SLOT_NONE)
			(void)slots_used_by(e, e->compute, slot, 1);
		*slot = SLOT_NONE;
	}
}

void pager_layer_end(ufm_engine *e)
{
	lock_take(&e->lock);
	release_leftovers(e);
	cache_event_end(e->cache, e->layer, e->members, e->member_count);
	counter_add(&e->counters, COUNTER_failed_uses, e->member_count - e->accounted);
	lock_drop(&e->lock);
}
