/* SPDX-License-Identifier: MIT */
/* A budget that changes between steps: the end of the reserved range is mapped or unmapped. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "pager/pager_int.h"

static ufm_status plan_resize(ufm_engine *e, uint64_t target_bytes, budget *next)
{
	ufm_device_memory now;
	e->b->device_get_memory(e->device, &now);
	budget_terms terms = engine_terms(e);
	ufm_status status =
		budget_plan(&terms, target_bytes, now.free_bytes + e->region.mapped_bytes, next);
	/* More slots than the device has room for were never reserved. */
	if (status == UFM_OK && next->slots > e->region.slots_max)
		return status_fail(
			UFM_EDEVMEM, "%u expert slots: device memory: asked %llu bytes, %llu free", next->slots,
			(unsigned long long)(next->total_bytes - e->region.mapped_bytes),
			(unsigned long long)now.free_bytes);
	return status;
}

/* Only what changes is written: readers without the lock see the rest. */
static void adopt(ufm_engine *e, const budget *next)
{
	e->plan.target_bytes = next->target_bytes;
	e->plan.slots = next->slots;
	e->plan.ring = next->ring;
	e->plan.together = next->together;
	e->plan.slab_bytes = next->slab_bytes;
	e->plan.total_bytes = e->region.mapped_bytes = next->total_bytes;
	slots_publish(&e->slab);
}

/* ------------------------------------------------------------------ growing */

/* Slots that were added cannot be in anybody's way, so the cache does not refuse. */
static void add_slots(ufm_engine *e, const budget *next)
{
	cache_resized done;
	ufm_status status = cache_resize(e->cache, next->slots, next->ring, NULL, &done);
	assert(status == UFM_OK && done.moves == 0 && done.evictions == 0);
}

static ufm_status grow(ufm_engine *e, const budget *next)
{
	uint64_t more_bytes = next->total_bytes - e->region.mapped_bytes;
	ufm_devptr end = e->region.base + e->region.mapped_bytes;
	ufm_status status = more_bytes ? e->b->mem_map(e->device, end, more_bytes) : UFM_OK;
	if (status != UFM_OK)
		return status_prefix(status, "%u expert slots", next->slots);
	status = slots_poison(&e->slab, e->plan.slots, next->slots - e->plan.slots);
	if (status != UFM_OK) {
		if (more_bytes)
			(void)e->b->mem_unmap(e->device, end, more_bytes);
		return status;
	}
	add_slots(e, next);
	adopt(e, next);
	return UFM_OK;
}

/* ------------------------------------------------------------------ shrinking */

/* A move comes after the last use of the slot that it overwrites. The host waits for the copy stream as
 * a whole, moves or not: slots are unmapped then, and a load that failed may have left a copy, or a
 * slot that was never used its poison, of which no record tells. */
static ufm_status copy_moved(ufm_engine *e, const cache_move *moves, uint32_t n)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		status = mark_order(&e->marks, e->copy, e->slab.uses[moves[i].to].mark);
		if (status == UFM_OK)
			status = e->b->copy(e->copy, UFM_COPY_D2D, slot_address(&e->slab, moves[i].to),
			                    slot_address(&e->slab, moves[i].from), e->desc.expert_bytes);
	}
	return status == UFM_OK ? e->b->stream_sync(e->copy) : status;
}

/* After a failure a moved expert's bytes are nowhere: what was enqueued may arrive or not. Refills of
 * its slot come after that in the copy stream. */
static void settle_moved(ufm_engine *e, const cache_move *moves, uint32_t n, bool copied)
{
	for (uint32_t i = 0; i < n; i++) {
		if (copied) {
			cache_loaded(e->cache, moves[i].to, moves[i].generation);
			e->slab.uses[moves[i].to] = (slot_use){0};
		} else {
			cache_load_failed(e->cache, moves[i].to, moves[i].generation);
		}
	}
	counter_add(&e->counters, copied ? COUNTER_moves : COUNTER_evictions, n);
}

static ufm_status wait_for_readers(ufm_engine *e, uint32_t first_slot)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = first_slot; i < e->plan.slots && status == UFM_OK; i++)
		status = mark_wait(&e->marks, e->slab.uses[i].mark);
	return status;
}

static ufm_status unmap_end(ufm_engine *e, const budget *next)
{
	uint64_t less_bytes = e->region.mapped_bytes - next->total_bytes;
	ufm_status status = wait_for_readers(e, next->slots);
	if (status == UFM_OK && less_bytes)
		status = e->b->mem_unmap(e->device, e->region.base + next->total_bytes, less_bytes);
	if (status == UFM_OK)
		memset(&e->slab.uses[next->slots], 0, (e->plan.slots - next->slots) * sizeof *e->slab.uses);
	return status;
}

/* The cache has decided; what the device then refuses is undone by giving the slots back, empty. */
static ufm_status give_up_slots(ufm_engine *e, const budget *next, const cache_move *moves,
                                const cache_resized *done)
{
	counter_add(&e->counters, COUNTER_evictions, done->evictions);
	ufm_status status = copy_moved(e, moves, done->moves);
	settle_moved(e, moves, done->moves, status == UFM_OK);
	if (status == UFM_OK)
		status = unmap_end(e, next);
	if (status == UFM_OK) {
		adopt(e, next);
		return UFM_OK;
	}
	add_slots(e, &e->plan);
	slots_publish(&e->slab);
	return status_prefix(status, "giving back %u of %u expert slots", e->plan.slots - next->slots,
	                     e->plan.slots);
}

static ufm_status shrink(ufm_engine *e, const budget *next)
{
	uint32_t cut = e->plan.slots - next->slots, leases_max = next->slots - next->ring;
	if (e->leases.leased > leases_max)
		return status_fail(UFM_EBUSY, "%u experts are leased, and a budget of %u slots allows %u",
		                   e->leases.leased, next->slots, leases_max);
	cache_move *moves = alloc_zeroed(cut, sizeof *moves);
	if (!moves)
		return UFM_ENOMEM;
	cache_resized done;
	ufm_status status = owed_start_all(&e->owed);
	if (status == UFM_OK)
		status = loads_drain(&e->loads);
	if (status == UFM_OK)
		status = tables_forget_all(&e->tables);
	if (status == UFM_OK)
		status = cache_resize(e->cache, next->slots, next->ring, moves, &done);
	if (status == UFM_EBUSY)
		status_prefix(status, "leases hold slots");
	if (status == UFM_OK)
		status = give_up_slots(e, next, moves, &done);
	alloc_free(moves);
	return status;
}

ufm_status ufm_engine_resize(ufm_engine *e, uint64_t vram_target_bytes)
{
	budget next;
	ufm_status status = engine_check_process(e);
	if (status != UFM_OK)
		return status;
	engine_enter(e);
	lock_take(&e->lock);
	status = plan_resize(e, vram_target_bytes, &next);
	if (status == UFM_OK)
		status = next.slots < e->plan.slots ? shrink(e, &next) : grow(e, &next);
	if (status == UFM_OK)
		choose_forget(e);
	lock_drop(&e->lock);
	engine_leave(e);
	return status;
}
