/* SPDX-License-Identifier: MIT */
/* Opening and closing an engine. */
#include "bank/bank_shape.h"
#include "base/alloc.h"
#include "base/size.h"
#include "base/status.h"
#include "pager/pager_int.h"
#include "policy/registry.h"

#define TOP_K_MOST 256u /* of a token, whatever the bank has */

static ufm_status check_tokens(const ufm_engine_config *c, uint32_t experts)
{
	if (c->max_tokens == 0 && c->call_tokens_max != 0)
		return status_fail(UFM_EINVAL, "call_tokens_max: %u without max_tokens",
		                   c->call_tokens_max);
	if (c->max_tokens == 0)
		return UFM_OK;
	/* The bank may be a slice of the experts that tokens choose from (ufm_layer_config.expert_begin). */
	if (c->top_k_max == 0 || c->top_k_max > (experts > TOP_K_MOST ? experts : TOP_K_MOST))
		return status_fail(UFM_EINVAL, "top_k_max: %u, expected 1 to %u", c->top_k_max,
		                   experts > TOP_K_MOST ? experts : TOP_K_MOST);
	if (c->call_tokens_max < c->max_tokens)
		return status_fail(UFM_EINVAL, "call_tokens_max: %u, expected at least max_tokens (%u)",
		                   c->call_tokens_max, c->max_tokens);
	if ((uint64_t)c->call_tokens_max * c->top_k_max > (1u << 30))
		return status_fail(UFM_EINVAL, "call_tokens_max * top_k_max: %llu, expected at most 2^30",
		                   (unsigned long long)c->call_tokens_max * c->top_k_max);
	return UFM_OK;
}

static const char *math_name(ufm_math math)
{
	static const char *const names[] = {"", "fp32", "tf32", "bf16"};
	return names[math];
}

static ufm_status read_config(ufm_engine *e, const ufm_engine_config *user)
{
	ufm_engine_config *c = &e->config;
	ufm_struct_init(c, sizeof *c);
	ufm_status status = status_read_config(c, sizeof *c, user, "ufm_engine_config");
	if (status == UFM_OK)
		status = status_read_config(&e->debug, sizeof e->debug, c->debug, "ufm_engine_debug");
	c->debug = NULL; /* the caller's */
	if (status != UFM_OK)
		return status;
	if (c->call_tokens_max == 0)
		c->call_tokens_max = c->max_tokens;
	if (c->math == 0)
		c->math = UFM_MATH_FP32;
	if (c->math > UFM_MATH_BF16)
		return status_fail(UFM_EINVAL, "math: %d, expected UFM_MATH_FP32, TF32 or BF16",
		                   (int)c->math);
	const ufm_policy *policy = policy_find(c->policy);
	if (!policy || policy->flags & UFM_POLICY_OFFLINE)
		return status_fail(UFM_EINVAL, "policy: \"%s\", expected one of %s", c->policy,
		                   POLICY_NAMES);
	c->policy = policy->name;
	if (c->timeline_events > TIMELINE_EVENTS_MAX)
		return status_fail(UFM_EINVAL, "timeline_events: %u, expected at most %u",
		                   c->timeline_events, TIMELINE_EVENTS_MAX);
	status = cpu_path_check(c);
	if (status == UFM_OK)
		status = record_check(c);
	return status == UFM_OK ? check_tokens(c, e->experts) : status;
}

static ufm_status open_device(ufm_engine *e)
{
	ufm_device_config config;
	ufm_struct_init(&config, sizeof config);
	config.index = e->config.device_index;
	config.memory_limit_bytes = e->config.vram_limit_bytes;
	config.link_gbps = e->config.link_gbps;
	config.compute_threads = e->config.compute_threads;
	ufm_status status = e->b->device_open(&config, &e->device);
	if (status != UFM_OK)
		return status;
	e->b->device_get_info(e->device, &e->device_info);
	ufm_device_memory memory;
	e->b->device_get_memory(e->device, &memory);
	e->free_at_open_bytes = memory.free_bytes;
	if (!(e->device_info.math >> e->config.math & 1u))
		return status_fail(UFM_EUNSUPPORTED, "math: %s, expected fp32: the %s backend has no other",
		                   math_name(e->config.math), e->b->name);
	status = e->b->stream_open(e->device, NULL, &e->compute);
	return status == UFM_OK ? e->b->stream_open(e->device, NULL, &e->copy) : status;
}

budget_terms engine_terms(const ufm_engine *e)
{
	return (budget_terms){.config = &e->config,
	                      .desc = &e->desc,
	                      .layers = e->layers,
	                      .experts = e->experts,
	                      .hidden_bytes = e->b->hidden_bytes,
	                      .granularity_bytes = e->device_info.map_granularity_bytes,
	                      .memory_bytes = e->device_info.memory_total_bytes,
	                      .unusable_bytes = e->device_info.unusable_bytes};
}

static ufm_status divide_memory(ufm_engine *e)
{
	const ufm_engine_config *c = &e->config;
	budget_terms terms = engine_terms(e);
	uint64_t target_bytes = c->vram_target_bytes;
	if (c->smallest && (target_bytes || c->resident_all))
		return status_fail(UFM_EINVAL,
		                   "smallest: expected vram_target_bytes and resident_all to be 0 with it");
	if (c->smallest)
		target_bytes = budget_target(&terms, budget_slots_min(&terms));
	return budget_plan(&terms, target_bytes, e->free_at_open_bytes, &e->plan);
}

static ufm_status map_memory(ufm_engine *e)
{
	budget_terms terms = engine_terms(e);
	e->region.slots_max = budget_slots_max(&terms, &e->plan);
	uint64_t most_bytes = budget_total(&terms, &e->plan, e->region.slots_max);
	ufm_status status = e->b->mem_reserve(e->device, most_bytes, &e->region.base);
	if (status != UFM_OK)
		return status;
	e->region.reserved_bytes = most_bytes;
	status = e->b->mem_map(e->device, e->region.base, e->plan.total_bytes);
	if (status != UFM_OK)
		return status_prefix(status, "%u expert slots", e->plan.slots);
	e->region.mapped_bytes = e->plan.total_bytes;
	(void)budget_workspace(&terms, e->region.base, &e->ws);
	return UFM_OK;
}

/* Rows and tokens of calls that the workspace cannot hold. */
static ufm_status open_host_tables(ufm_engine *e)
{
	const ufm_engine_config *c = &e->config;
	if (c->call_tokens_max <= c->max_tokens)
		return UFM_OK;
	uint64_t token_bytes = 4ull * e->desc.d_model * c->call_tokens_max;
	ufm_status status = pinned_open(e->b, "the row table of long calls", token_bytes * c->top_k_max,
	                                &e->host_table);
	if (status == UFM_OK)
		status = pinned_open(e->b, "the tokens of long calls", token_bytes, &e->host_tokens);
	if (status == UFM_OK)
		status = e->b->host_view(e->device, e->host_table.memory, &e->ws.long_table);
	if (status == UFM_OK)
		status = e->b->host_view(e->device, e->host_tokens.memory, &e->ws.long_tokens);
	return status;
}

static ufm_status open_all(ufm_engine *e, const ufm_engine_config *user)
{
	ufm_status status = read_config(e, user);
	if (status == UFM_OK)
		status = open_device(e);
	if (status == UFM_OK)
		status = divide_memory(e);
	if (status == UFM_OK)
		status = map_memory(e);
	if (status == UFM_OK)
		status = open_host_tables(e);
	if (status == UFM_OK)
		status = parts_open(e);
	return status == UFM_OK ? slots_poison(&e->slab, 0, e->plan.slots) : status;
}

ufm_status ufm_engine_open(ufm_host *host, const ufm_engine_config *config, ufm_engine **out)
{
	ufm_status status = status_need(host, "host", "an open host tier");
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the engine");
	if (status == UFM_OK)
		status = host_check_process(host);
	if (status != UFM_OK)
		return status;
	ufm_engine *e = alloc_zeroed(1, sizeof *e);
	if (!e)
		return UFM_ENOMEM;
	const bank_shape *bank = bank_get_shape(host_bank(host));
	e->host = host_ref(host);
	e->b = host_backend(host);
	e->desc = bank->desc;
	e->layers = bank->layers;
	e->experts = bank->experts;
	lock_init(&e->layer_lock, LOCK_RANK_LAYER, "layer calls");
	lock_init(&e->lock, LOCK_RANK_ENGINE, "engine");
	lock_init(&e->spans.lock, LOCK_RANK_SPANS, "spans");
	e->guard = &e->lock;
	status = open_all(e, config);
	if (status != UFM_OK) {
		ufm_engine_close(e);
		return status;
	}
	*out = e;
	return UFM_OK;
}

/* Streams are closed first: that waits for everything in flight. */
static void close_streams(ufm_engine *e)
{
	streams_close(e);
	if (e->compute)
		e->b->stream_close(e->compute);
	if (e->copy)
		e->b->stream_close(e->copy);
}

static void close_memory(ufm_engine *e)
{
	pinned_close(e->b, &e->host_tokens);
	pinned_close(e->b, &e->host_table);
	if (e->region.mapped_bytes)
		(void)e->b->mem_unmap(e->device, e->region.base, e->region.mapped_bytes);
	if (e->region.reserved_bytes)
		e->b->mem_release(e->device, e->region.base, e->region.reserved_bytes);
}

void ufm_engine_close(ufm_engine *e)
{
	if (!e || host_is_parents(e->host))
		return;
	close_streams(e);
	parts_close(e);
	close_memory(e);
	e->b->device_close(e->device);
	lock_destroy(&e->spans.lock);
	lock_destroy(&e->lock);
	lock_destroy(&e->layer_lock);
	ufm_host_close(e->host);
	alloc_free(e);
}
