/* SPDX-License-Identifier: MIT */
/* A stack of routed layers on one engine, through the public interface. */
#include "cli/bench/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/status.h"
#include "budget/workspace.h"
#include "cli/interrupt.h"
#include "cli/router.h"
#include "moe/layer.h"

struct model {
	model_config config;
	ufm_engine *engine;
	ufm_stream *stream;
	ufm_layer **layers;  /* [bank.layers] */
	ufm_ticket *tickets; /* [bank.layers] */
	ufm_devptr x;        /* f32 [tokens, d_model] */
	float *norm;         /* [d_model], of one layer at a time */
	/* Of a workload that steers. */
	float *router;   /* [experts, d_model], as norm; all models with routers have it */
	uint64_t window; /* the layers' routers are for it */
	int32_t *found;  /* [tokens, top_k] */
};

#define NO_WINDOW UINT64_MAX

enum { KEY_ROUTER = 11, KEY_NORM = 12 };

static ufm_layer_config layer_config(const model_config *c, uint32_t layer)
{
	ufm_layer_config config;
	UFM_STRUCT_INIT(&config);
	config.layer = layer;
	config.top_k = c->top_k;
	config.norm_topk = c->norm_topk;
	config.scoring = c->scoring;
	config.residual = 1;
	return config;
}

static uint64_t state_bytes(const model_config *c)
{
	return (uint64_t)c->tokens * c->bank.desc.d_model * sizeof(float);
}

uint64_t model_arena_bytes(const model_config *c)
{
	const budget_stack stack = {.layers = c->bank.layers,
	                            .experts = c->bank.experts,
	                            .d_model = c->bank.desc.d_model,
	                            .router = !c->routed_by_caller,
	                            .tokens = c->tokens};
	return budget_stack_bytes(&stack);
}

/* Within a tenth of 1. */
static void make_norm(const model_config *c, uint32_t layer, float *norm)
{
	uint32_t d = c->bank.desc.d_model;
	rng_fill_f32(norm, d, rng_mix(rng_mix(c->seed, layer), KEY_NORM), 0, 0.1f);
	for (uint32_t i = 0; i < d; i++)
		norm[i] += 1.0f;
}

/* Rows of unit variance in every logit. */
static void make_router(const model_config *c, uint32_t layer, float *router)
{
	uint32_t d = c->bank.desc.d_model;
	uint64_t key = rng_mix(c->seed, layer);
	for (uint32_t e = 0; e < c->bank.experts; e++)
		rng_fill_f32(router + (size_t)e * d, d, rng_mix(rng_mix(key, KEY_ROUTER), e), 0,
		             sqrtf(3.0f / (float)d));
}

static ufm_status read_router(const model_config *c, uint32_t layer, float *router)
{
	float *weight;
	ufm_status status = router_read(c->checkpoint, layer, &weight);
	if (status)
		return status;
	if (!weight)
		return status_fail(
			UFM_EFORMAT,
			"layer %u has no router (….gate.weight), expected --workload trace:FILE or sticky:",
			ufm_bank_layer_number(c->checkpoint, layer));
	memcpy(router, weight, (size_t)c->bank.experts * c->bank.desc.d_model * sizeof *router);
	alloc_free(weight);
	return UFM_OK;
}

static ufm_status find_router(const model_config *c, uint32_t layer, float *router)
{
	if (c->checkpoint)
		return read_router(c, layer, router);
	make_router(c, layer, router);
	return UFM_OK;
}

/* Routers of a workload come with the first step. */
static ufm_status open_layers(model *m)
{
	for (uint32_t i = 0; i < m->config.bank.layers; i++) {
		ufm_layer_config config = layer_config(&m->config, i);
		ufm_status status = UFM_OK;
		make_norm(&m->config, i, m->norm);
		if (m->router && !m->config.steers)
			status = find_router(&m->config, i, m->router);
		if (status)
			return status;
		config.router_weight = m->router;
		config.norm_weight = m->norm;
		status = ufm_layer_open(m->engine, &config, &m->layers[i]);
		if (status)
			return status;
	}
	return UFM_OK;
}

static ufm_status open_memory(model *m)
{
	const bank_shape *bank = &m->config.bank;
	size_t d = bank->desc.d_model;
	m->norm = alloc_zeroed(d, sizeof *m->norm);
	m->layers = alloc_zeroed(bank->layers, sizeof(ufm_layer *));
	m->tickets = alloc_zeroed(bank->layers, sizeof *m->tickets);
	if (!m->norm || !m->layers || !m->tickets)
		return UFM_ENOMEM;
	if (m->config.routed_by_caller)
		return UFM_OK;
	m->router = alloc_zeroed(bank->experts * d, sizeof *m->router);
	m->found = alloc_zeroed((size_t)m->config.tokens * m->config.top_k, sizeof *m->found);
	return m->router && m->found ? UFM_OK : UFM_ENOMEM;
}

static ufm_status open_parts(model *m)
{
	ufm_status status = open_memory(m);
	if (!status)
		status = open_layers(m);
	if (!status)
		status = ufm_engine_alloc(m->engine, state_bytes(&m->config), &m->x);
	if (!status)
		status = ufm_stream_open(m->engine, NULL, &m->stream);
	return status;
}

ufm_status model_open(ufm_engine *engine, const model_config *config, model **out)
{
	ufm_status status;
	model *m = alloc_zeroed(1, sizeof *m);
	if (!m)
		return UFM_ENOMEM;
	m->config = *config;
	m->engine = engine;
	m->window = NO_WINDOW;
	status = open_parts(m);
	if (status) {
		model_close(m);
		return status;
	}
	*out = m;
	return UFM_OK;
}

void model_close(model *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->layers && i < m->config.bank.layers; i++)
		ufm_layer_close(m->layers[i]);
	if (m->stream)
		ufm_stream_close(m->engine, m->stream);
	alloc_free(m->layers);
	alloc_free(m->tickets);
	alloc_free(m->norm);
	alloc_free(m->router);
	alloc_free(m->found);
	alloc_free(m);
}

void model_set_source(model *m, const moe_source *source)
{
	for (uint32_t i = 0; i < m->config.bank.layers; i++)
		layer_set_source(m->layers[i], source);
}

/* The routers of another window take the place of those that are there. */
static ufm_status steer(model *m, uint64_t window)
{
	const model_config *c = &m->config;
	ufm_status status = UFM_OK;
	if (!c->steers || m->window == window)
		return UFM_OK;
	m->window = NO_WINDOW;
	for (uint32_t i = 0; i < c->bank.layers && !status; i++) {
		make_norm(c, i, m->norm);
		workload_router(c->steers, window, i, m->norm, c->bank.experts, m->router);
		status = layer_set_router(m->layers[i], m->router);
	}
	if (!status)
		m->window = window;
	return status;
}

ufm_status model_upload(model *m, const workload_batch *batch)
{
	ufm_status status = steer(m, batch->window);
	if (status)
		return status;
	status = ufm_copy_to_device(m->engine, m->stream, m->x, batch->x, state_bytes(&m->config));
	ufm_status synced = ufm_stream_sync(m->engine, m->stream);
	return status ? status : synced;
}

ufm_status model_download(model *m, float *y)
{
	ufm_status status = ufm_copy_to_host(m->engine, m->stream, y, m->x, state_bytes(&m->config));
	ufm_status synced = ufm_stream_sync(m->engine, m->stream);
	return status ? status : synced;
}

static ufm_moe_call layer_call(const model *m, const ufm_tokens *x, const workload_batch *batch,
                               uint32_t layer)
{
	size_t count = (size_t)m->config.tokens * m->config.top_k;
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = m->config.tokens;
	call.x = call.y = x;
	call.stream = m->stream;
	if (batch->ids) {
		call.ids = batch->ids + layer * count;
		call.gates = batch->gates;
	}
	return call;
}

static bool has(const int32_t *ids, uint32_t count, int32_t id)
{
	for (uint32_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static void say_wrong(model_check *check, uint32_t layer, uint32_t token, int32_t id)
{
	check->wrong = true;
	snprintf(check->why, sizeof check->why,
	         "ids: the router of layer %" PRIu32 " left out expert %" PRId32 " for token %" PRIu32
	         " of a step, expected the workload's choice",
	         layer, id, token);
}

/* A workload's experts are pairwise different: who has as many and all of them has the same set. */
static void check_choice(const model *m, const int32_t *chosen, uint32_t layer, model_check *check)
{
	uint32_t top_k = m->config.top_k, count = m->config.tokens * top_k;
	for (uint32_t i = 0; i < count && !check->wrong; i++) {
		uint32_t token = i / top_k;
		if (!has(m->found + (size_t)token * top_k, top_k, chosen[i]))
			say_wrong(check, layer, token, chosen[i]);
	}
}

static ufm_status run_layer(model *m, const workload_batch *batch, uint32_t layer,
                            model_check *check)
{
	size_t count = (size_t)m->config.tokens * m->config.top_k;
	const ufm_tokens x = {
		.struct_size = sizeof x, .place = UFM_ON_DEVICE, .dtype = UFM_F32, .device = m->x};
	ufm_moe_call call = layer_call(m, &x, batch, layer);
	call.ids_out = check ? m->found : NULL;
	ufm_status status = ufm_moe_forward(m->layers[layer], &call, &m->tickets[layer]);
	if (!status && check)
		check_choice(m, batch->chosen + layer * count, layer, check);
	return status;
}

ufm_status model_forward(model *m, const workload_batch *batch, model_check *check)
{
	ufm_status status = UFM_OK;
	uint32_t enqueued = 0;
	while (!status && enqueued < m->config.bank.layers) {
		status = interrupt_check();
		if (!status)
			status = run_layer(m, batch, enqueued, check);
		enqueued += status == UFM_OK;
	}
	for (uint32_t i = 0; i < enqueued; i++) {
		ufm_status ended = ufm_ticket_wait(m->engine, m->tickets[i], UFM_WAIT_FOREVER);
		status = status ? status : ended;
	}
	return status;
}
