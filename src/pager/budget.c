/* SPDX-License-Identifier: MIT */
/* Divides the device budget before anything is allocated. */
#include <string.h>

#include "base/size.h"
#include "base/status.h"
#include "pager/pager_int.h"

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static ufm_devptr carve(ufm_devptr base, uint64_t *used_bytes, uint64_t size_bytes)
{
	ufm_devptr at = base + *used_bytes;
	*used_bytes += round_up(size_bytes, PAGER_ALIGN);
	return at;
}

uint64_t budget_workspace(const ufm_engine *e, ufm_devptr base, pager_workspace *ws)
{
	const ufm_engine_config *c = &e->config;
	uint64_t used_bytes = 0, row_bytes = 4ull * e->desc.d_model;
	memset(ws, 0, sizeof *ws);
	if (c->max_tokens == 0)
		return 0;
	uint64_t assignments = (uint64_t)c->call_tokens_max * c->top_k_max;
	ws->piece_rows = c->max_tokens * c->top_k_max;
	ws->x = carve(base, &used_bytes, ws->piece_rows * row_bytes);
	ws->hidden = carve(base, &used_bytes, e->b->hidden_bytes(&e->desc, ws->piece_rows));
	ws->ids = carve(base, &used_bytes, 4 * assignments);
	ws->gates = carve(base, &used_bytes, 4 * assignments);
	ws->row_of = carve(base, &used_bytes, 4 * assignments);
	ws->row_token = carve(base, &used_bytes, 4 * assignments);
	if (c->call_tokens_max <= c->max_tokens) {
		ws->table = carve(base, &used_bytes, assignments * row_bytes);
		ws->tokens = carve(base, &used_bytes, c->call_tokens_max * row_bytes);
	}
	return used_bytes;
}

static ufm_status too_small(const ufm_engine *e, const budget *plan, uint64_t budget_bytes,
                            uint32_t least)
{
	uint64_t granularity = e->device_info.map_granularity_bytes;
	uint64_t need =
		round_up(plan->workspace_bytes + plan->arena_bytes + least * e->desc.block_bytes,
	             granularity) +
		e->config.headroom_bytes;
	char have[32], fixed[32], block[32], want[32];
	return status_fail(UFM_EBUDGET,
	                   "vram-target less headroom is %s, but the smallest working set is %u "
	                   "experts of %s beside a "
	                   "workspace of %s: vram-target must be at least %s (%llu bytes)",
	                   size_format(budget_bytes, have, sizeof have), least,
	                   size_format(e->desc.block_bytes, block, sizeof block),
	                   size_format(plan->workspace_bytes + plan->arena_bytes, fixed, sizeof fixed),
	                   size_format(need, want, sizeof want), (unsigned long long)need);
}

/* As many slots as fit, or all when every expert must be resident: then an allocation decides. */
static ufm_status count_slots(const ufm_engine *e, uint64_t budget_bytes, bool bounded,
                              budget *plan)
{
	uint32_t keys = e->layers * e->experts;
	uint32_t most = e->config.slots_max && e->config.slots_max < keys ? e->config.slots_max : keys;
	uint32_t least = keys < 2 ? keys : 2;
	uint64_t fixed = plan->workspace_bytes + plan->arena_bytes;
	uint64_t usable =
		budget_bytes / e->device_info.map_granularity_bytes * e->device_info.map_granularity_bytes;
	uint64_t fit = usable > fixed ? (usable - fixed) / e->desc.block_bytes : 0;
	if (e->config.resident_all) {
		if (bounded && fit < keys)
			return too_small(e, plan, budget_bytes, keys);
		plan->slots = keys;
		return UFM_OK;
	}
	if (most < least)
		return status_fail(UFM_EINVAL, "slots_max: %u, expected at least %u", most, least);
	if (fit < least)
		return too_small(e, plan, budget_bytes, least);
	plan->slots = fit < most ? (uint32_t)fit : most;
	return UFM_OK;
}

ufm_status budget_plan(const ufm_engine *e, budget *out)
{
	const ufm_engine_config *c = &e->config;
	budget plan = {.arena_bytes = round_up(c->arena_bytes, PAGER_ALIGN)};
	bool bounded = c->vram_target_bytes != 0;
	uint64_t target = bounded ? c->vram_target_bytes : e->free_at_open_bytes;
	if (c->headroom_bytes >= target)
		return status_fail(UFM_EBUDGET,
		                   "headroom: %llu bytes, expected less than vram-target (%llu)",
		                   (unsigned long long)c->headroom_bytes, (unsigned long long)target);
	pager_workspace ws;
	plan.workspace_bytes = budget_workspace(e, 0, &ws);
	ufm_status status = count_slots(e, target - c->headroom_bytes, bounded, &plan);
	if (status != UFM_OK)
		return status;
	bool everything = plan.slots == e->layers * e->experts;
	plan.ring = everything ? 0 : cache_ring_for(plan.slots, c->ring_slots);
	plan.slab_bytes = (uint64_t)plan.slots * e->desc.block_bytes;
	plan.total_bytes = round_up(plan.slab_bytes + plan.workspace_bytes + plan.arena_bytes,
	                            e->device_info.map_granularity_bytes);
	*out = plan;
	return UFM_OK;
}
