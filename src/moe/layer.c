/* SPDX-License-Identifier: MIT */
/* Opening and closing a routed layer. */
#include <assert.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/size.h"
#include "base/status.h"
#include "budget/workspace.h"
#include "moe/layer.h"
#include "moe/moe_int.h"

static uint64_t layer_bytes(uint32_t d_model, uint32_t experts, const ufm_layer_config *c)
{
	return budget_layer_bytes(d_model, experts, c->router_weight != NULL, c->norm_weight != NULL);
}

uint64_t ufm_layer_bytes(const ufm_bank_info *bank, const ufm_layer_config *given)
{
	ufm_bank_info about = {.experts = 0};
	ufm_layer_config config = {.layer = 0};

	if (!bank || !given || status_read_config(&about, sizeof about, bank, "ufm_bank_info") ||
	    status_read_config(&config, sizeof config, given, "ufm_layer_config"))
		return 0;
	return about.desc ? layer_bytes(about.desc->d_model, about.experts, &config) : 0;
}

static ufm_status check_config(const ufm_layer_config *c, const bank_shape *bank,
                               const ufm_engine_info *engine)
{
	if (engine->max_tokens == 0)
		return status_fail(UFM_EINVAL,
		                   "engine: opened without max_tokens, expected at least 1 for the "
		                   "layer level");
	if (c->layer >= bank->layers)
		return status_fail(UFM_EINVAL, "layer: %u, expected less than %u", c->layer, bank->layers);
	/* Without a router the experts may be a slice of those that the ids are about. */
	if (c->top_k == 0 || (c->router_weight && c->top_k > bank->experts))
		return status_fail(UFM_EINVAL, "top_k: %u, expected 1 to %u experts", c->top_k,
		                   bank->experts);
	if (c->expert_begin && c->router_weight)
		return status_fail(UFM_EINVAL, "expert_begin: %u, expected 0 for a layer with a router",
		                   c->expert_begin);
	if (c->expert_begin > INT32_MAX - bank->experts)
		return status_fail(UFM_EINVAL, "expert_begin: %u, expected ids that fit 31 bits",
		                   c->expert_begin);
	if (c->scoring != UFM_SCORE_SOFTMAX && c->scoring != UFM_SCORE_SIGMOID)
		return status_fail(UFM_EINVAL,
		                   "scoring: %d, expected UFM_SCORE_SOFTMAX or UFM_SCORE_SIGMOID",
		                   (int)c->scoring);
	if (c->top_k > engine->top_k_max)
		return status_fail(UFM_EINVAL, "top_k: %u, expected at most the engine's top_k_max (%u)",
		                   c->top_k, engine->top_k_max);
	return UFM_OK;
}

static ufm_status upload(ufm_engine *e, const float *host, uint64_t size_bytes, ufm_devptr to)
{
	return host ? ufm_copy_to_device(e, NULL, to, host, size_bytes) : UFM_OK;
}

static uint64_t router_bytes(const ufm_layer *layer)
{
	return 4ull * layer->desc->d_model * layer->experts;
}

/* One allocation for both, so that an arena too small takes nothing. The engine's stream is used, so
 * no layer call may run meanwhile. */
static ufm_status upload_all(ufm_layer *layer)
{
	ufm_layer_config *c = &layer->config;
	ufm_engine *e = layer->engine;
	uint64_t norm_at = c->router_weight ? size_round_up(router_bytes(layer), BUDGET_ALIGN) : 0;
	ufm_devptr at = 0;
	ufm_status status =
		ufm_engine_alloc(e, layer_bytes(layer->desc->d_model, layer->experts, c), &at);
	if (status != UFM_OK)
		return status;
	layer->router = c->router_weight ? at : 0;
	layer->norm = c->norm_weight ? at + norm_at : 0;
	engine_enter(e);
	status = upload(e, c->router_weight, router_bytes(layer), layer->router);
	if (status == UFM_OK)
		status = upload(e, c->norm_weight, 4ull * layer->desc->d_model, layer->norm);
	ufm_status synced = ufm_stream_sync(e, NULL);
	engine_leave(e);
	c->router_weight = c->norm_weight = NULL;
	return status == UFM_OK ? synced : status;
}

ufm_status ufm_layer_open(ufm_engine *engine, const ufm_layer_config *user, ufm_layer **out)
{
	ufm_layer_config config;
	ufm_struct_init(&config, sizeof config);
	ufm_status status = engine_check_process(engine);
	if (status == UFM_OK)
		status = status_need(user, "config", "a ufm_layer_config");
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the layer");
	if (status == UFM_OK)
		status = status_read_config(&config, sizeof config, user, "ufm_layer_config");
	if (status != UFM_OK)
		return status;
	if (!config.scoring)
		config.scoring = UFM_SCORE_SOFTMAX;
	if (config.norm_eps == 0)
		config.norm_eps = 1e-6f;
	const ufm_bank *bank = host_bank(engine_host(engine));
	const bank_shape *shape = bank_get_shape(bank);
	ufm_engine_info engine_info = {.struct_size = sizeof engine_info};
	ufm_engine_get_info(engine, &engine_info);
	status = check_config(&config, shape, &engine_info);
	if (status != UFM_OK)
		return status;
	ufm_layer *layer = alloc_zeroed(1, sizeof *layer);
	if (!layer)
		return UFM_ENOMEM;
	layer->engine = engine;
	layer->config = config;
	layer->desc = bank_desc(bank);
	layer->experts = shape->experts;
	layer_set_source(layer, NULL);
	status = upload_all(layer);
	if (status != UFM_OK) {
		alloc_free(layer);
		return status;
	}
	*out = layer;
	return UFM_OK;
}

ufm_status layer_set_router(ufm_layer *layer, const float *weight)
{
	ufm_engine *e = layer->engine;
	assert(layer->router);
	engine_enter(e);
	ufm_status status = upload(e, weight, router_bytes(layer), layer->router);
	ufm_status synced = ufm_stream_sync(e, NULL);
	engine_leave(e);
	return status == UFM_OK ? synced : status;
}

/* Its arena memory is freed with the engine. */
void ufm_layer_close(ufm_layer *layer)
{
	alloc_free(layer);
}
