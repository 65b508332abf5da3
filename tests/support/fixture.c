/* SPDX-License-Identifier: MIT */
/* A small model on an engine, for tests of the pager and layer levels. */
#include "support/fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank.h"
#include "base/hash.h"
#include "base/rng.h"
#include "device/registry.h"
#include "pager/host.h"

const ufm_backend *fixture_backend(void)
{
	const ufm_backend *backend = &cpu_backend;
	const char *name = getenv("UFM_TEST_BACKEND");
	if (name && *name && registry_find(name, &backend) != UFM_OK) {
		fprintf(stderr, "UFM_TEST_BACKEND=%s: %s\n", name, ufm_last_error());
		abort();
	}
	return backend;
}

uint64_t fixture_granule(void)
{
	const ufm_backend *b = fixture_backend();
	ufm_device_config config;
	ufm_device_info info;
	ufm_device *device;
	UFM_STRUCT_INIT(&config);
	if (b->device_open(&config, &device) != UFM_OK)
		abort();
	b->device_get_info(device, &info);
	b->device_close(device);
	return info.map_granularity_bytes;
}

static void resolve(fixture_config *c)
{
	c->layers = c->layers ? c->layers : 1;
	c->experts = c->experts ? c->experts : 8;
	c->d_model = c->d_model ? c->d_model : c->storage ? STORAGE_STEP : 24;
	c->d_hidden = c->d_hidden ? c->d_hidden : c->storage ? 2 * STORAGE_STEP : 40;
	c->top_k = c->top_k ? c->top_k : 2;
	c->tokens = c->tokens ? c->tokens : 16;
	c->kind = c->kind ? c->kind : UFM_EXPERT_MLP_BIAS;
	c->dtype = c->dtype ? c->dtype : UFM_F32;
	c->max_tokens = c->max_tokens ? c->max_tokens : c->tokens;
	c->backend = c->backend ? c->backend : fixture_backend();
}

static ufm_status open_bank(fixture *f)
{
	ufm_bank_synthetic_config bank;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	UFM_STRUCT_INIT(&bank);
	bank.layers = f->c.layers;
	bank.experts = f->c.experts;
	bank.desc = &desc;
	bank.seed = f->c.seed;
	if (f->c.bank) {
		f->bank = bank_ref(f->c.bank);
		return UFM_OK;
	}
	ufm_status status =
		ufm_expert_desc_init(&desc, f->c.kind, f->c.d_model, f->c.d_hidden, f->c.dtype);
	if (f->c.arithmetic)
		desc = arithmetic_desc(f->c.arithmetic, true, f->c.dtype, f->c.d_model, f->c.d_hidden);
	if (f->c.storage && status == UFM_OK)
		storage_apply(f->c.storage, &desc);
	return status == UFM_OK ? ufm_bank_synthetic(&bank, &f->bank) : status;
}

static ufm_status open_host(fixture *f)
{
	ufm_host_config host;
	const ufm_host_debug debug = {.struct_size = sizeof debug, .store_filter = f->c.store_filter};
	UFM_STRUCT_INIT(&host);
	host.fill_threads = 2;
	host.debug = &debug;
	ufm_status status = open_bank(f);
	return status == UFM_OK ? host_open_on(f->c.backend, f->bank, &host, &f->host) : status;
}

static ufm_status open_engine(fixture *f)
{
	ufm_engine_config config;
	const ufm_engine_debug debug = {.struct_size = sizeof debug,
	                                .poison_free_slots = !f->c.no_poison};
	UFM_STRUCT_INIT(&config);
	config.policy = f->c.policy;
	config.slots_max = f->c.slots_max;
	config.timeline_events = f->c.timeline_events;
	config.routing_bytes = f->c.routing_bytes;
	config.ring_slots = f->c.ring_slots;
	config.resident_all = f->c.resident_all;
	config.debug = &debug;
	config.max_tokens = f->c.max_tokens;
	config.call_tokens_max = f->c.tokens > f->c.max_tokens ? f->c.tokens : f->c.max_tokens;
	config.top_k_max = f->c.top_k;
	config.vram_target_bytes = f->c.vram_target_bytes;
	config.headroom_bytes = f->c.headroom_bytes;
	config.vram_limit_bytes = f->c.vram_limit_bytes;
	config.compute_threads = 2;
	config.link_gbps = f->c.link_gbps;
	config.math = f->c.math;
	config.cpu_assist = f->c.cpu_assist ? f->c.cpu_assist : UFM_CPU_OFF;
	config.cpu_threads = f->c.cpu_threads;
	config.cpu_share_percent = f->c.cpu_share_percent;
	config.arena_bytes = (uint64_t)f->c.layers * (4ull * f->c.d_model * (f->c.experts + 1) + 1024);
	return ufm_engine_open(f->host, &config, &f->engine);
}

static ufm_status open_layer(fixture *f, uint32_t index)
{
	ufm_layer_config config;
	UFM_STRUCT_INIT(&config);
	uint64_t key = rng_mix(f->c.seed, 1000 + index);
	rng_fill_f32(f->router, (size_t)f->c.experts * f->c.d_model, key, 0,
	             sqrtf(12.0f / (float)f->c.d_model));
	rng_fill_f32(f->norm, f->c.d_model, rng_mix(key, 1), 0, 0.1f);
	for (uint32_t i = 0; i < f->c.d_model; i++)
		f->norm[i] += 1.0f;
	config.layer = index;
	config.top_k = f->c.top_k;
	config.norm_topk = f->c.norm_topk;
	config.residual = !f->c.no_residual;
	config.router_weight = f->c.no_router ? NULL : f->router;
	config.norm_weight = f->norm;
	return ufm_layer_open(f->engine, &config, &f->layers[index]);
}

ufm_status fixture_open(fixture *f, const fixture_config *config)
{
	memset(f, 0, sizeof *f);
	f->c = *config;
	resolve(&f->c);
	size_t tokens = f->c.tokens ? f->c.tokens : 1;
	f->x = calloc(tokens * f->c.d_model, sizeof(float));
	f->y = calloc(tokens * f->c.d_model, sizeof(float));
	f->x_tokens = (ufm_tokens){.struct_size = sizeof f->x_tokens, .host = f->x};
	f->y_tokens = (ufm_tokens){.struct_size = sizeof f->y_tokens, .host = f->y};
	f->router = calloc((size_t)f->c.experts * f->c.d_model, sizeof(float));
	f->norm = calloc(f->c.d_model, sizeof(float));
	ufm_status status = open_host(f);
	if (status == UFM_OK)
		status = open_engine(f);
	for (uint32_t i = 0; i < f->c.layers && status == UFM_OK; i++)
		status = open_layer(f, i);
	if (status != UFM_OK)
		fixture_close(f);
	return status;
}

void fixture_close(fixture *f)
{
	for (uint32_t i = 0; i < FIXTURE_LAYERS_MAX; i++)
		ufm_layer_close(f->layers[i]);
	ufm_engine_close(f->engine);
	ufm_host_close(f->host);
	ufm_bank_close(f->bank);
	free(f->x);
	free(f->y);
	free(f->router);
	free(f->norm);
	memset(f, 0, sizeof *f);
}

ufm_status fixture_prefetch_all(fixture *f)
{
	ufm_status status = UFM_OK;
	for (uint32_t l = 0; l < f->c.layers; l++) {
		for (uint32_t i = 0; i < f->c.experts && status == UFM_OK; i++)
			status = ufm_prefetch(f->engine, l, &i, 1);
	}
	return status;
}

void fixture_fill_x(fixture *f, uint64_t step)
{
	rng r;
	rng_seed(&r, rng_mix(f->c.seed, 77 + step));
	for (size_t i = 0; i < (size_t)f->c.tokens * f->c.d_model; i++)
		f->x[i] = (float)rng_gauss(&r);
}

ufm_status fixture_run(fixture *f, uint64_t step)
{
	fixture_fill_x(f, step);
	memcpy(f->y, f->x, (size_t)f->c.tokens * f->c.d_model * sizeof(float));
	ufm_ticket ticket = {0};
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < f->c.layers && status == UFM_OK; i++) {
		ufm_moe_call call;
		UFM_STRUCT_INIT(&call);
		call.tokens = f->c.tokens;
		call.x = call.y = &f->y_tokens;
		status = ufm_moe_forward(f->layers[i], &call, &ticket);
	}
	ufm_status waited = ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER);
	return status == UFM_OK ? waited : status;
}

uint64_t fixture_hash(const fixture *f)
{
	return hash_bytes(HASH_SEED, f->y, (size_t)f->c.tokens * f->c.d_model * sizeof(float));
}

bool fixture_agrees(const fixture *f, const float *want)
{
	size_t count = (size_t)f->c.tokens * f->c.d_model;
	if (strcmp(f->c.backend->name, "cpu") == 0)
		return memcmp(f->y, want, count * sizeof *want) == 0;
	float largest = 0, error = 0;
	for (size_t i = 0; i < count; i++) {
		largest = fmaxf(largest, fabsf(want[i]));
		error = fmaxf(error, fabsf(f->y[i] - want[i]));
		if (!isfinite(f->y[i]))
			return false;
	}
	return error <= 1e-5f * largest;
}

uint64_t fixture_counter(fixture *f, const char *name)
{
	uint64_t values[64];
	ufm_engine_get_counters(f->engine, values, 64);
	for (uint32_t i = 0; i < ufm_counter_count(); i++) {
		if (strcmp(ufm_counter_describe(i)->name, name) == 0)
			return values[i];
	}
	abort();
}

int fixture_identities(fixture *f)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_engine_get_info(f->engine, &info);
	ufm_engine_get_memory(f->engine, &memory);
	uint64_t uses = fixture_counter(f, "uses");
	uint64_t streamed = fixture_counter(f, "streamed_uses");
	if (uses != fixture_counter(f, "resident_uses") + streamed + fixture_counter(f, "cpu_uses"))
		return __LINE__;
	if (fixture_counter(f, "h2d_weight_bytes") !=
	    (streamed + fixture_counter(f, "prefetch_loads") + fixture_counter(f, "admitted_loads")) *
	        info.expert_bytes)
		return __LINE__;
	if (fixture_counter(f, "d2h_weight_bytes") != 0)
		return __LINE__;
	if (memory.slab_high_water_bytes > info.slab_bytes)
		return __LINE__;
	if (memory.held_bytes > info.vram_target_bytes - info.headroom_bytes)
		return __LINE__;
	return 0;
}
