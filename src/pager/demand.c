/* SPDX-License-Identifier: MIT */
/* The demand of the layer call in progress. */
#include "pager/demand.h"

#include "base/alloc.h"
#include "pager/key.h"
#include "schedule/judge.h"

ufm_status demand_open(demand *d)
{
	d->members = alloc_zeroed(d->experts, sizeof *d->members);
	d->held = alloc_zeroed(d->experts, sizeof *d->held);
	if (!d->members || !d->held)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < d->experts; i++)
		d->held[i] = SLOT_NONE;
	return UFM_OK;
}

void demand_close(demand *d)
{
	alloc_free(d->members);
	alloc_free(d->held);
}

static void begin_event(demand *d, uint32_t layer, const schedule_demand *wanted, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		d->members[i] = (cache_member){
			.expert = wanted[i].expert, .tokens = wanted[i].tokens, .next_event = UFM_NEVER};
	d->layer = layer;
	d->member_count = n;
	d->accounted = 0;
	for (uint32_t i = 0; i < PAGER_WATCHED; i++)
		d->loads_of[i] = 0;
	d->turn = admit_freely();
	d->fills = 0;
	d->broad = cache_is_broad(d->cache, d->members, n);
	d->told = false;
	cache_event_lock(d->cache, layer, d->members, n);
}

/* Where nothing is missed the device need not wait until the policy has heard of it. */
static void tell_policy(demand *d)
{
	if (!d->told)
		cache_event_tell(d->cache, d->layer, d->members, d->member_count);
	d->told = true;
}

static bool misses_any(const demand *d)
{
	for (uint32_t i = 0; i < d->member_count; i++) {
		uint32_t key = key_of(d->experts, d->layer, d->members[i].expert);
		if (cache_find(d->cache, key) == SLOT_NONE)
			return true;
	}
	return false;
}

/* Pins an expert that is in a slot. */
static void hold_resident(demand *d, uint32_t expert, uint32_t slot)
{
	cache_pin(d->cache, slot);
	d->held[expert] = slot;
	d->accounted++;
	counter_add(d->counters, COUNTER_resident_uses, 1);
}

/* A demanded expert that is in a slot. */
static ufm_status pin_resident(demand *d, schedule_demand *wanted, uint32_t slot)
{
	cache_slot view;
	cache_get_slot(d->cache, slot, &view);
	wanted->refilled_next = view.in_ring;
	hold_resident(d, wanted->expert, slot);
	return loads_order(d->loads, slot, d->compute, false);
}

/* *misses: those that have no slot. One whose slot waits for its copy is no miss of the cache, but has to be
 * brought or computed like one. */
static ufm_status pin_residents(demand *d, uint32_t layer, schedule_demand *wanted, uint32_t n,
                                uint32_t *misses)
{
	ufm_status status = UFM_OK;
	*misses = n;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		uint32_t slot = cache_find(d->cache, key_of(d->experts, layer, wanted[i].expert));
		bool late = slot != SLOT_NONE && slot_is_owed(d->slab, slot);
		*misses -= slot != SLOT_NONE;
		wanted[i].resident = slot != SLOT_NONE && !late;
		wanted[i].appeal = late ? UINT8_MAX : 0;
		counter_add(d->counters, COUNTER_late_uses, late);
		if (wanted[i].resident)
			status = pin_resident(d, &wanted[i], slot);
	}
	return status;
}

/* With the CPU path on. */
static void judge(demand *d, uint32_t layer, schedule_demand *wanted, uint32_t n, uint32_t misses)
{
	const judge_call call = {.cache = d->cache,
	                         .admit = &d->admit,
	                         .shares_always = d->shares_always,
	                         .broad = d->broad,
	                         .first = key_of(d->experts, layer, 0),
	                         .misses = misses};
	d->turn = judge_misses(&call, wanted, n, &d->fills);
}

ufm_status demand_begin(demand *d, uint32_t layer, schedule_demand *wanted, uint32_t n,
                        ufm_status settled)
{
	counter_add(d->counters, COUNTER_calls, 1);
	counter_add(d->counters, COUNTER_uses, n);
	begin_event(d, layer, wanted, n);
	if (misses_any(d))
		tell_policy(d);
	ufm_status status = settled;
	uint32_t misses = 0;
	if (status == UFM_OK)
		status = pin_residents(d, layer, wanted, n, &misses);
	if (d->choosy)
		judge(d, layer, wanted, n, misses);
	/* leases leave as many slots as the ring has, so there is one */
	judge_free_one_early(d->cache, wanted, n, d->held);
	return status;
}

/* The experts that are neither held nor in a slot, where a lease may have brought them since the
 * layer began. */
static uint32_t find_missing(demand *d, uint32_t layer, const schedule_demand *wanted, uint32_t n,
                             uint32_t *keys, uint32_t *index)
{
	uint32_t missing = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t expert = wanted[i].expert, key = key_of(d->experts, layer, expert);
		if (d->held[expert] != SLOT_NONE)
			continue;
		uint32_t slot = cache_find(d->cache, key);
		if (slot != SLOT_NONE && !slot_is_owed(d->slab, slot)) {
			hold_resident(d, expert, slot);
			continue;
		}
		keys[missing] = key;
		index[missing++] = i;
	}
	return missing;
}

static void hold_streamed(demand *d, const schedule_demand *wanted, const uint32_t *index,
                          const uint32_t *slots, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		d->held[wanted[index[i]].expert] = slots[i];
	d->accounted += count;
	d->loads_of[d->next_load++ % PAGER_WATCHED] = d->slab->uses[slots[0]].load;
	counter_add(d->counters, COUNTER_streamed_uses, count);
}

ufm_status demand_hold(demand *d, uint32_t layer, const schedule_demand *wanted, uint32_t n,
                       uint32_t *started)
{
	uint32_t keys[BUDGET_TOGETHER], index[BUDGET_TOGETHER] = {0}, slots[BUDGET_TOGETHER], count = 0;
	uint32_t missing = find_missing(d, layer, wanted, n, keys, index);
	*started = n;
	if (missing == 0)
		return UFM_OK;
	tell_policy(d);
	ufm_status status = loads_place(d->loads, &d->turn, keys, missing, slots, &count);
	if (status == UFM_OK)
		hold_streamed(d, wanted, index, slots, count);
	if (count < missing)
		*started = index[count];
	return status == UFM_EBUSY ? UFM_OK : status;
}

uint32_t demand_take(demand *d, uint32_t expert)
{
	uint32_t slot = d->held[expert];
	d->held[expert] = SLOT_NONE;
	return slot;
}

ufm_status demand_in_flight(const demand *d, uint32_t *copies)
{
	ufm_status status = UFM_OK;
	uint32_t pending = 0;
	for (uint32_t i = 0; i < PAGER_WATCHED && status == UFM_OK; i++) {
		bool ended;
		status = loads_has_ended(d->loads, d->loads_of[i], &ended);
		pending += !ended;
	}
	*copies = pending;
	return status;
}

void demand_elsewhere(demand *d, uint32_t n)
{
	d->accounted += n;
	counter_add(d->counters, COUNTER_cpu_uses, n);
}

/* In the order of the misses, after those that were brought: as if they had been, too. Calls of several tokens miss
 * so much that the link is never idle for it (docs/performance-log.md). */
ufm_status demand_admit(demand *d, uint32_t layer, const schedule_demand *computed, uint32_t n)
{
	ufm_status status = UFM_OK;
	if (d->broad)
		return UFM_OK;
	tell_policy(d);
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		uint32_t key = key_of(d->experts, layer, computed[i].expert);
		if (cache_find(d->cache, key) == SLOT_NONE)
			status = owed_admit(d->owed, &d->turn, key, host_block(d->loads->host, key));
	}
	return status == UFM_EBUSY ? UFM_OK : status;
}

static void release_leftovers(demand *d)
{
	for (uint32_t i = 0; i < d->member_count; i++) {
		uint32_t *slot = &d->held[d->members[i].expert];
		if (*slot != SLOT_NONE)
			(void)slots_used_by(d->slab, d->compute, slot, 1);
		*slot = SLOT_NONE;
	}
}

void demand_end(demand *d)
{
	tell_policy(d);
	release_leftovers(d);
	admit_end(&d->admit, &d->turn);
	cache_event_end(d->cache, d->layer, d->members, d->member_count);
	if (d->choosy && !d->broad)
		cache_forget_declined(d->cache, d->layer, d->members, d->member_count);
	slots_publish(d->slab);
	counter_add(d->counters, COUNTER_failed_uses, d->member_count - d->accounted);
}
