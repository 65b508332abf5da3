/* SPDX-License-Identifier: MIT */
/* Workspace and arena first, because they stay when the budget changes; what is left are slots. */
#include "budget/budget.h"

#include <string.h>

#include "base/size.h"
#include "base/status.h"
#include "cache/cache.h"

static ufm_devptr carve(ufm_devptr base, uint64_t *used_bytes, uint64_t size_bytes)
{
	ufm_devptr at = base + *used_bytes;
	*used_bytes += size_round_up(size_bytes, BUDGET_ALIGN);
	return at;
}

/* Rows that x and hidden hold at once. A piece of so many is long enough for its launches to cost
 * nothing beside its products; a larger one would only double what a long prefill takes, whose row table
 * must be whole. */
#define PIECE_ROWS_MAX 8192u

static uint32_t piece_rows(const ufm_engine_config *c)
{
	uint64_t rows = (uint64_t)c->max_tokens * c->top_k_max;
	return rows < PIECE_ROWS_MAX ? (uint32_t)rows : PIECE_ROWS_MAX;
}

/* Tokens are routed before any has hidden values, as many at once as fit there, and x. */
static void place_logits(const budget_terms *t, ufm_devptr base, uint64_t *used_bytes,
                         workspace *ws)
{
	uint32_t least =
		ws->piece_rows > t->config->top_k_max ? ws->piece_rows / t->config->top_k_max : 1;
	uint64_t fit = t->hidden_bytes(t->desc, ws->piece_rows) / (4ull * t->experts);
	if (fit >= least) {
		ws->route_tokens = fit < ws->piece_rows ? (uint32_t)fit : ws->piece_rows;
		ws->logits = ws->hidden;
		return;
	}
	ws->route_tokens = least;
	ws->logits = carve(base, used_bytes, 4ull * least * t->experts);
}

uint64_t budget_workspace(const budget_terms *t, ufm_devptr base, workspace *ws)
{
	const ufm_engine_config *c = t->config;
	uint64_t used_bytes = 0, row_bytes = 4ull * t->desc->d_model;
	memset(ws, 0, sizeof *ws);
	if (c->max_tokens == 0)
		return 0;
	uint64_t assignments = (uint64_t)c->call_tokens_max * c->top_k_max;
	ws->piece_rows = piece_rows(c);
	ws->x = carve(base, &used_bytes, ws->piece_rows * row_bytes);
	ws->hidden = carve(base, &used_bytes, t->hidden_bytes(t->desc, ws->piece_rows));
	ws->ids = carve(base, &used_bytes, 4 * assignments);
	ws->gates = carve(base, &used_bytes, 4 * assignments);
	ws->row_of = carve(base, &used_bytes, 4 * assignments);
	ws->row_token = carve(base, &used_bytes, 4 * assignments);
	place_logits(t, base, &used_bytes, ws);
	ws->blocks = carve(base, &used_bytes, 8ull * t->layers * t->experts);
	ws->entries = carve(base, &used_bytes, t->experts * sizeof(ufm_expert_rows));
	ws->table_rows = (uint64_t)c->max_tokens * c->top_k_max;
	ws->table = carve(base, &used_bytes, ws->table_rows * row_bytes);
	ws->token_rows = c->max_tokens;
	ws->tokens = carve(base, &used_bytes, ws->token_rows * row_bytes);
	return used_bytes;
}

/* Far above any device and far below a wrapped sum. */
#define ARENA_BYTES_MAX (1ull << 60)

static ufm_status check_arena(const budget_terms *t)
{
	if (t->config->arena_bytes <= ARENA_BYTES_MAX)
		return UFM_OK;
	return status_fail(UFM_EBUDGET, "arena_bytes: %llu, expected at most 2^60",
	                   (unsigned long long)t->config->arena_bytes);
}

/* A copy of so many bytes fills the link, whatever it is made of (docs/performance-log.md). */
#define COPY_BYTES (4ull << 20)
/* Copies that the ring has room for: two on their way, two in use. */
#define RING_COPIES 4u

static uint32_t experts_of_copy(const budget_terms *t)
{
	uint64_t fill = COPY_BYTES / t->desc->block_bytes;
	return fill < 1 ? 1 : fill > BUDGET_TOGETHER ? BUDGET_TOGETHER : (uint32_t)fill;
}

/* The ring of small blocks holds as many copies as that of large ones, but at most an eighth of the slots:
 * beyond that policies would have less to keep. */
static uint32_t ring_default(const budget_terms *t, uint32_t slots)
{
	uint32_t wanted = RING_COPIES * experts_of_copy(t);
	uint32_t most = slots / 8 > RING_COPIES ? slots / 8 : RING_COPIES;
	return wanted < most ? wanted : most;
}

/* A ring that was asked for is had or refused. */
static ufm_status choose_ring(const budget_terms *t, budget *plan)
{
	uint32_t wanted = t->config->ring_slots, together = experts_of_copy(t);
	plan->together = 1;
	if (plan->slots == t->layers * t->experts)
		return UFM_OK;
	plan->ring = cache_ring_for(plan->slots, wanted ? wanted : ring_default(t, plan->slots));
	uint32_t most = plan->ring / RING_COPIES;
	plan->together = together < most ? together : most < 1 ? 1 : most;
	if (wanted && plan->ring != wanted)
		return status_fail(UFM_EINVAL, "ring_slots: %u, expected 2 to half of the %u slots", wanted,
		                   plan->slots);
	return UFM_OK;
}

uint64_t budget_total(const budget_terms *t, const budget *plan, uint32_t slots)
{
	return size_round_up(plan->workspace_bytes + plan->arena_bytes + slots * t->desc->block_bytes,
	                     t->granularity_bytes);
}

/* The slots that fit, whatever there is to put in them. */
static uint64_t slots_within(const budget_terms *t, const budget *plan, uint64_t budget_bytes)
{
	uint64_t granularity = t->granularity_bytes;
	uint64_t fixed = plan->workspace_bytes + plan->arena_bytes;
	uint64_t usable = budget_bytes / granularity * granularity;
	return usable > fixed ? (usable - fixed) / t->desc->block_bytes : 0;
}

static uint32_t slots_wanted(const budget_terms *t)
{
	uint32_t keys = t->layers * t->experts;
	return t->config->slots_max && t->config->slots_max < keys ? t->config->slots_max : keys;
}

uint32_t budget_slots_max(const budget_terms *t, const budget *plan)
{
	uint64_t fit = slots_within(t, plan, t->memory_bytes);
	uint32_t wanted = slots_wanted(t), most = fit < wanted ? (uint32_t)fit : wanted;
	return most > plan->slots ? most : plan->slots;
}

static ufm_status too_small(const budget_terms *t, const budget *plan, uint64_t budget_bytes,
                            uint32_t least)
{
	uint64_t need = budget_total(t, plan, least) + t->config->headroom_bytes;
	char have[32], fixed[32], block[32], want[32];
	return status_fail(UFM_EBUDGET,
	                   "vram-target less headroom is %s, but the smallest working set is %u "
	                   "experts of %s beside a "
	                   "workspace of %s: vram-target must be at least %s (%llu bytes)",
	                   size_format(budget_bytes, have, sizeof have), least,
	                   size_format(t->desc->block_bytes, block, sizeof block),
	                   size_format(plan->workspace_bytes + plan->arena_bytes, fixed, sizeof fixed),
	                   size_format(need, want, sizeof want), (unsigned long long)need);
}

/* One computes while one arrives; leases may hold what the ring leaves. */
uint32_t budget_slots_min(const budget_terms *t)
{
	uint32_t keys = t->layers * t->experts, working_set = t->config->max_tokens ? 2 : 3;
	return keys < working_set ? keys : working_set;
}

/* As many slots as fit, or all when every expert must be resident: then an allocation decides. */
static ufm_status count_slots(const budget_terms *t, uint64_t budget_bytes, bool bounded,
                              budget *plan)
{
	uint32_t keys = t->layers * t->experts;
	uint32_t most = slots_wanted(t), least = budget_slots_min(t);
	uint64_t fit = slots_within(t, plan, budget_bytes);
	if (t->config->resident_all && most < keys)
		return status_fail(UFM_EINVAL, "slots_max: %u, expected 0 or all %u with resident_all",
		                   most, keys);
	if (t->config->resident_all) {
		if (bounded && fit < keys)
			return too_small(t, plan, budget_bytes, keys);
		plan->slots = keys;
		return UFM_OK;
	}
	if (most < least)
		return status_fail(UFM_EINVAL, "slots_max: %u, expected at least %u", most, least);
	if (fit < least)
		return too_small(t, plan, budget_bytes, least);
	plan->slots = fit < most ? (uint32_t)fit : most;
	return UFM_OK;
}

/* What can be had of free memory. */
static uint64_t usable_bytes(const budget_terms *t, uint64_t free_bytes)
{
	uint64_t unusable = t->unusable_bytes;
	return free_bytes > unusable ? free_bytes - unusable : 0;
}

static void measure_fixed(const budget_terms *t, budget *plan)
{
	workspace ws;
	plan->arena_bytes = size_round_up(t->config->arena_bytes, BUDGET_ALIGN);
	plan->workspace_bytes = budget_workspace(t, 0, &ws);
}

uint64_t budget_target(const budget_terms *t, uint32_t slots)
{
	budget plan = {0};
	measure_fixed(t, &plan);
	return budget_total(t, &plan, slots) + t->config->headroom_bytes;
}

ufm_status budget_plan(const budget_terms *t, uint64_t target_bytes, uint64_t free_bytes,
                       budget *out)
{
	const ufm_engine_config *c = t->config;
	bool bounded = target_bytes != 0;
	budget plan = {.target_bytes = bounded ? target_bytes : usable_bytes(t, free_bytes)};
	if (c->headroom_bytes >= plan.target_bytes)
		return status_fail(
			UFM_EBUDGET, "headroom: %llu bytes, expected less than vram-target (%llu)",
			(unsigned long long)c->headroom_bytes, (unsigned long long)plan.target_bytes);
	ufm_status status = check_arena(t);
	if (status != UFM_OK)
		return status;
	measure_fixed(t, &plan);
	status = count_slots(t, plan.target_bytes - c->headroom_bytes, bounded, &plan);
	if (status != UFM_OK)
		return status;
	status = choose_ring(t, &plan);
	if (status != UFM_OK)
		return status;
	plan.slab_bytes = (uint64_t)plan.slots * t->desc->block_bytes;
	plan.total_bytes = budget_total(t, &plan, plan.slots);
	*out = plan;
	return UFM_OK;
}
