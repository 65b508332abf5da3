/* SPDX-License-Identifier: MIT */
/* A stack of routed layers on one engine, through the public interface. */
#include "cli/bench/model.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

struct model {
	model_config config;
	ufm_engine *engine;
	ufm_stream *stream;
	ufm_layer **layers;  /* [bank.layers] */
	ufm_ticket *tickets; /* [bank.layers] */
	ufm_devptr x;        /* f32 [tokens, d_model] */
};

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

/* What lies where does not matter for a size: any address will do for the weights. */
uint64_t model_arena_bytes(const model_config *c)
{
	static const float any;
	ufm_layer_config config = layer_config(c, 0);
	config.norm_weight = &any;
	config.router_weight = c->routed_by_caller ? NULL : &any;
	return c->bank.layers * ufm_layer_bytes(&c->bank, &config) + state_bytes(c) + 256;
}

/* Router rows of unit variance in every logit, norm weights within a tenth of 1. */
static void make_weights(const model_config *c, uint32_t layer, float *router, float *norm)
{
	uint32_t d = c->bank.desc.d_model;
	uint64_t key = rng_mix(c->seed, layer);
	rng_fill_f32(norm, d, rng_mix(key, KEY_NORM), 0, 0.1f);
	for (uint32_t i = 0; i < d; i++)
		norm[i] += 1.0f;
	for (uint32_t e = 0; router && e < c->bank.experts; e++)
		rng_fill_f32(router + (size_t)e * d, d, rng_mix(rng_mix(key, KEY_ROUTER), e), 0,
		             sqrtf(3.0f / (float)d));
}

static ufm_status open_layers(model *m, float *router, float *norm)
{
	for (uint32_t i = 0; i < m->config.bank.layers; i++) {
		ufm_layer_config config = layer_config(&m->config, i);
		ufm_status status;
		make_weights(&m->config, i, router, norm);
		config.router_weight = router;
		config.norm_weight = norm;
		status = ufm_layer_open(m->engine, &config, &m->layers[i]);
		if (status)
			return status;
	}
	return UFM_OK;
}

static ufm_status open_parts(model *m)
{
	const ufm_bank_info *bank = &m->config.bank;
	size_t d = bank->desc.d_model;
	float *norm = alloc_zeroed(d, sizeof *norm), *router = NULL;
	ufm_status status = UFM_ENOMEM;
	if (!m->config.routed_by_caller)
		router = alloc_zeroed(bank->experts * d, sizeof *router);
	m->layers = alloc_zeroed(bank->layers, sizeof(ufm_layer *));
	m->tickets = alloc_zeroed(bank->layers, sizeof *m->tickets);
	if (norm && (router || m->config.routed_by_caller) && m->layers && m->tickets)
		status = open_layers(m, router, norm);
	alloc_free(router);
	alloc_free(norm);
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
	alloc_free(m);
}

void model_set_source(model *m, const moe_source *source)
{
	for (uint32_t i = 0; i < m->config.bank.layers; i++)
		layer_set_source(m->layers[i], source);
}

ufm_status model_upload(model *m, const workload_batch *batch)
{
	ufm_status status =
		ufm_copy_to_device(m->engine, m->stream, m->x, batch->x, state_bytes(&m->config));
	ufm_status synced = ufm_stream_sync(m->engine, m->stream);
	return status ? status : synced;
}

ufm_status model_download(model *m, float *y)
{
	ufm_status status = ufm_copy_to_host(m->engine, m->stream, y, m->x, state_bytes(&m->config));
	ufm_status synced = ufm_stream_sync(m->engine, m->stream);
	return status ? status : synced;
}

static ufm_moe_call layer_call(const model *m, const workload_batch *batch, uint32_t layer)
{
	size_t count = (size_t)m->config.tokens * m->config.top_k;
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = m->config.tokens;
	call.x.place = UFM_ON_DEVICE;
	call.x.dtype = UFM_F32;
	call.x.device = m->x;
	call.y = call.x;
	call.stream = m->stream;
	if (batch->ids) {
		call.ids = batch->ids + layer * count;
		call.gates = batch->gates;
	}
	return call;
}

ufm_status model_forward(model *m, const workload_batch *batch, model_layer_end layer_end,
                         void *ctx)
{
	ufm_status status = UFM_OK;
	uint32_t enqueued = 0;
	for (; !status && enqueued < m->config.bank.layers; enqueued++) {
		ufm_moe_call call = layer_call(m, batch, enqueued);
		status = ufm_moe_forward(m->layers[enqueued], &call, &m->tickets[enqueued]);
		if (status)
			break;
		if (layer_end)
			layer_end(ctx);
	}
	for (uint32_t i = 0; i < enqueued; i++) {
		ufm_status ended = ufm_ticket_wait(m->engine, m->tickets[i], UFM_WAIT_FOREVER);
		status = status ? status : ended;
	}
	return status;
}
