/* SPDX-License-Identifier: MIT */
/* The layer level's way to one layer's experts. */
#include "base/status.h"
#include "pager/key.h"
#include "pager/pager_int.h"
#include "pager/settle.h"

void engine_enter(ufm_engine *e)
{
	lock_take(&e->layer_lock);
}

void engine_leave(ufm_engine *e)
{
	lock_drop(&e->layer_lock);
}

ufm_status pager_layer_begin(ufm_engine *e, uint32_t layer, schedule_demand *demands, uint32_t n)
{
	lock_take(&e->lock);
	ufm_status status = settle_before(e);
	status = demand_begin(&e->demand, layer, demands, n, status);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_layer_start(ufm_engine *e, uint32_t layer, const schedule_demand *demands,
                             uint32_t n, uint32_t *started)
{
	lock_take(&e->lock);
	ufm_status status = demand_hold(&e->demand, layer, demands, n, started);
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
	schedule_demand wanted = {.expert = expert};
	uint32_t started;
	lock_take(&e->lock);
	ufm_status status = demand_hold(&e->demand, layer, &wanted, 1, &started);
	uint32_t slot = e->demand.held[expert];
	if (status == UFM_OK && started)
		status = loads_order(&e->loads, slot, e->compute, true);
	lock_drop(&e->lock);
	if (status == UFM_OK && !started)
		return pager_layer_full(layer, expert);
	if (status == UFM_OK)
		*block = slot_address(&e->slab, slot);
	return status;
}

ufm_status pager_layer_address(ufm_engine *e, uint32_t layer, uint32_t expert, ufm_devptr *block)
{
	if (e->demand.held[expert] == SLOT_NONE)
		return status_fail(UFM_EINVAL, "expert %u of layer %u is not pinned", expert, layer);
	*block = slot_address(&e->slab, e->demand.held[expert]);
	return UFM_OK;
}

ufm_status pager_layer_used(ufm_engine *e, uint32_t *experts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		experts[i] = demand_take(&e->demand, experts[i]);
	lock_take(&e->lock);
	ufm_status status = slots_used_by(&e->slab, e->compute, experts, n);
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
	demand_elsewhere(&e->demand, n);
	lock_drop(&e->lock);
}

const void *pager_layer_host(const ufm_engine *e, uint32_t layer, uint32_t expert)
{
	return host_block(e->host, key_of(e->experts, layer, expert));
}

ufm_status pager_copies_in_flight(ufm_engine *e, uint32_t *copies)
{
	lock_take(&e->lock);
	loads_step(&e->loads);
	ufm_status status = demand_in_flight(&e->demand, copies);
	lock_drop(&e->lock);
	return status;
}

uint64_t pager_copy_ns(ufm_engine *e)
{
	lock_take(&e->lock);
	uint64_t copy_ns = e->loads.copy_ns;
	lock_drop(&e->lock);
	return copy_ns;
}

void pager_layer_end(ufm_engine *e)
{
	lock_take(&e->lock);
	demand_end(&e->demand);
	lock_drop(&e->lock);
}
