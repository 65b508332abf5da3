/* SPDX-License-Identifier: MIT */
/* What an engine says of itself: configuration in effect, memory, counters. */
#include <stdio.h>

#include "base/size.h"
#include "base/status.h"
#include "pager/pager_int.h"
#include "pager/settle.h"

/* A resize may change the plan meanwhile. */
static budget read_plan(const ufm_engine *e)
{
	lock_take(e->guard);
	budget plan = e->plan;
	lock_drop(e->guard);
	return plan;
}

uint32_t ufm_engine_lease_max(const ufm_engine *e)
{
	if (!e || host_is_parents(e->host))
		return 0;
	budget plan = read_plan(e);
	return plan.slots - plan.ring;
}

/* What auto has chosen changes while it is read, so each thread has a copy. */
static const char *cpu_words(const ufm_engine *e)
{
	static _Thread_local char words[256];
	char chosen[200];
	if (!e->cpu.chooses)
		return e->cpu_why;
	lock_take(e->guard);
	choose_describe(e, chosen, sizeof chosen);
	lock_drop(e->guard);
	snprintf(words, sizeof words, "on: %s", chosen[0] ? chosen : "nothing is chosen yet");
	return words;
}

static ufm_engine_info find_info(const ufm_engine *e)
{
	const ufm_engine_config *c = &e->config;
	budget plan = read_plan(e);
	return (ufm_engine_info){
		.backend = e->b->name,
		.device = e->device_info.name,
		.policy = c->policy,
		.vram_target_bytes = plan.target_bytes,
		.headroom_bytes = c->headroom_bytes,
		.vram_limit_bytes = c->vram_limit_bytes,
		.context_bytes = e->device_info.context_bytes,
		.link_gbps = e->device_info.link_gbps,
		.slots = plan.slots,
		.ring_slots = plan.ring,
		.lease_max = plan.slots - plan.ring,
		.expert_bytes = e->desc.expert_bytes,
		.block_bytes = e->desc.block_bytes,
		.slab_bytes = plan.slab_bytes,
		.workspace_bytes = plan.workspace_bytes,
		.arena_bytes = plan.arena_bytes,
		.max_tokens = c->max_tokens,
		.call_tokens_max = c->call_tokens_max,
		.top_k_max = c->top_k_max,
		.math = c->math,
		.cpu_threads = e->cpu.pool ? assist_threads(e->cpu.pool) : 0,
		.cpu_share_percent = e->cpu.pool ? e->cpu.share_percent : 0,
		.cpu_assist = cpu_words(e),
	};
}

/* A child process has the texts "" and the figures 0 beside the failure, whoever reads them. */
ufm_status ufm_engine_get_info(const ufm_engine *e, ufm_engine_info *info)
{
	ufm_engine_info found = {.backend = "", .device = "", .policy = "", .cpu_assist = ""};
	ufm_status status = status_need(info, "info", "a ufm_engine_info");
	if (status == UFM_OK)
		status = status_need(e, "engine", "an open engine");
	if (status != UFM_OK)
		return status;
	if (!host_is_parents(e->host))
		found = find_info(e);
	status = status_write_info(info, &found, sizeof found, "ufm_engine_info");
	return status == UFM_OK ? engine_check_process(e) : status;
}

/* Atomics instead of the lock, so that a sampler never waits for a copy. */
static ufm_engine_memory find_memory(const ufm_engine *e)
{
	ufm_device_memory now;
	e->b->device_get_memory(e->device, &now);
	uint64_t used = atomic_load_explicit(&e->slab.used, memory_order_relaxed);
	uint64_t most = atomic_load_explicit(&e->slab.high_water, memory_order_relaxed);
	uint64_t arena_bytes = atomic_load_explicit(&e->arena.live_bytes, memory_order_relaxed);
	return (ufm_engine_memory){
		.device_total_bytes = now.total_bytes,
		.device_free_bytes = now.free_bytes,
		.held_bytes =
			e->free_at_open_bytes > now.free_bytes ? e->free_at_open_bytes - now.free_bytes : 0,
		.live_bytes = used * e->desc.block_bytes + e->plan.workspace_bytes + arena_bytes,
		.slab_high_water_bytes = most * e->desc.block_bytes,
	};
}

ufm_status ufm_engine_get_memory(ufm_engine *e, ufm_engine_memory *memory)
{
	ufm_engine_memory found = {0};
	ufm_status status = status_need(memory, "memory", "a ufm_engine_memory");
	if (status == UFM_OK)
		status = status_need(e, "engine", "an open engine");
	if (status != UFM_OK)
		return status;
	if (!host_is_parents(e->host))
		found = find_memory(e);
	status = status_write_info(memory, &found, sizeof found, "ufm_engine_memory");
	return status == UFM_OK ? engine_check_process(e) : status;
}

ufm_status ufm_engine_get_counters(ufm_engine *e, uint64_t *values, uint32_t count)
{
	ufm_status status = status_need(e, "engine", "an open engine");
	if (status == UFM_OK && count)
		status = status_need(values, "values", "room for the counters");
	if (status != UFM_OK)
		return status;
	bool ours = !host_is_parents(e->host);
	if (ours)
		settle_counters(e);
	for (uint32_t i = 0; i < count && i < COUNTER_COUNT; i++)
		values[i] = !ours ? 0 : counter_get(&e->counters, (counter_id)i);
	return engine_check_process(e);
}

ufm_status ufm_engine_alloc(ufm_engine *e, uint64_t size_bytes, ufm_devptr *out)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK)
		status = status_need(out, "out", "where to put the address");
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	uint64_t used = e->arena.used_bytes, left = e->plan.arena_bytes - used;
	bool fits = size_bytes <= left;
	if (fits) {
		e->arena.used_bytes += size_round_up(size_bytes, BUDGET_ALIGN);
		atomic_store_explicit(&e->arena.live_bytes, e->arena.used_bytes, memory_order_relaxed);
	}
	lock_drop(&e->lock);
	if (!fits)
		return status_fail(UFM_EBUDGET, "arena: %llu bytes asked, %llu of %llu left (arena_bytes)",
		                   (unsigned long long)size_bytes, (unsigned long long)left,
		                   (unsigned long long)e->plan.arena_bytes);
	*out = e->region.base + e->plan.workspace_bytes + used;
	return UFM_OK;
}

ufm_status engine_check_process(const ufm_engine *e)
{
	return e ? host_check_process(e->host) : status_need(NULL, "engine", "an open engine");
}

ufm_host *engine_host(const ufm_engine *e)
{
	return e->host;
}

const ufm_backend *engine_backend(const ufm_engine *e)
{
	return e->b;
}

ufm_stream *engine_stream(const ufm_engine *e)
{
	return e->compute;
}

counters *engine_counters(ufm_engine *e)
{
	return &e->counters;
}

pager_cpu *pager_get_cpu(ufm_engine *e)
{
	return &e->cpu;
}

void engine_rates(const ufm_engine *e, pager_rates *out)
{
	*out = e->rates;
}

ufm_math engine_math(const ufm_engine *e)
{
	return e->config.math;
}

uint32_t engine_call_tokens_max(const ufm_engine *e)
{
	return e->config.call_tokens_max;
}

const workspace *pager_get_workspace(const ufm_engine *e)
{
	return &e->ws;
}
