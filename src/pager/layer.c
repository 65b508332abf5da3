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
	owed_enter(&e->owed);
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

uint32_t pager_layer_fills(ufm_engine *e)
{
	lock_take(&e->lock);
	uint32_t fills = e->demand.fills;
	lock_drop(&e->lock);
	return fills;
}

ufm_status pager_layer_take(ufm_engine *e, uint32_t layer, const schedule_demand *wanted,
                            ufm_devptr *block)
{
	ufm_status status = UFM_OK;
	uint32_t slot = e->demand.held[wanted->expert];
	if (slot == SLOT_NONE)
		return status_fail(UFM_EINVAL, "expert %u of layer %u is not pinned", wanted->expert,
		                   host_layer_number(e->host, layer));
	if (!wanted->resident) {
		lock_take(&e->lock);
		status = loads_order(&e->loads, slot, e->compute, true);
		lock_drop(&e->lock);
	}
	if (status == UFM_OK)
		*block = slot_address(&e->slab, slot);
	return status;
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

uint64_t pager_link_busy_ns(ufm_engine *e)
{
	lock_take(&e->lock);
	uint64_t busy_ns = loads_busy_ns(&e->loads);
	lock_drop(&e->lock);
	return busy_ns;
}

ufm_status pager_layer_admit(ufm_engine *e, uint32_t layer, const schedule_demand *computed,
                             uint32_t n)
{
	lock_take(&e->lock);
	ufm_status status = demand_admit(&e->demand, layer, computed, n);
	lock_drop(&e->lock);
	return status;
}

/* A copy for later that can't be started makes its expert a miss again, and fails no call. */
void pager_layer_spare(ufm_engine *e)
{
	lock_take(&e->lock);
	(void)owed_step(&e->owed, e->plan.together);
	lock_drop(&e->lock);
}

void pager_layer_end(ufm_engine *e)
{
	lock_take(&e->lock);
	demand_end(&e->demand);
	(void)owed_leave(&e->owed, e->plan.together);
	lock_drop(&e->lock);
}
