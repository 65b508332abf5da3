/* SPDX-License-Identifier: MIT */
/* Opening and closing a routed layer. */
#include "bank/bank.h"
#include "base/alloc.h"
#include "base/status.h"
#include "moe/moe_int.h"

static uint64_t padded(uint64_t size_bytes)
{
	return (size_bytes + 255) / 256 * 256;
}

uint64_t ufm_layer_bytes(const ufm_bank_info *bank, const ufm_layer_config *config)
{
	uint64_t row_bytes = 4ull * bank->desc.d_model, size_bytes = 0;
	if (config->router_weight)
		size_bytes += padded(row_bytes * bank->experts);
	if (config->norm_weight)
		size_bytes += padded(row_bytes);
	return size_bytes;
}

static ufm_status check_config(const ufm_layer_config *c, const ufm_bank_info *bank,
                               const ufm_engine_info *engine)
{
	if (engine->max_tokens == 0)
		return status_fail(UFM_EINVAL,
		                   "engine: opened without max_tokens, expected at least 1 for the "
		                   "layer level");
	if (c->layer >= bank->layers)
		return status_fail(UFM_EINVAL, "layer: %u, expected less than %u", c->layer, bank->layers);
	if (c->top_k == 0 || c->top_k > bank->experts)
		return status_fail(UFM_EINVAL, "top_k: %u, expected 1 to %u experts", c->top_k,
		                   bank->experts);
	if (c->top_k > engine->top_k_max)
		return status_fail(UFM_EINVAL, "top_k: %u, expected at most the engine's top_k_max (%u)",
		                   c->top_k, engine->top_k_max);
	return UFM_OK;
}

static ufm_status upload(ufm_engine *e, const float *host, uint64_t size_bytes, ufm_devptr *out)
{
	ufm_status status = host ? ufm_engine_alloc(e, size_bytes, out) : UFM_OK;
	if (status == UFM_OK && host)
		status = ufm_copy_to_device(e, NULL, *out, host, size_bytes);
	return status;
}

static ufm_status upload_all(ufm_layer *layer)
{
	ufm_layer_config *c = &layer->config;
	uint64_t row_bytes = 4ull * layer->desc->d_model;
	ufm_status status =
		upload(layer->engine, c->router_weight, row_bytes * layer->experts, &layer->router);
	if (status == UFM_OK)
		status = upload(layer->engine, c->norm_weight, row_bytes, &layer->norm);
	ufm_status synced = ufm_stream_sync(layer->engine, NULL);
	c->router_weight = c->norm_weight = NULL;
	return status == UFM_OK ? synced : status;
}

ufm_status ufm_layer_open(ufm_engine *engine, const ufm_layer_config *user, ufm_layer **out)
{
	ufm_layer_config config;
	ufm_struct_init(&config, sizeof config);
	ufm_status status = status_read_config(&config, sizeof config, user, "ufm_layer_config");
	if (status != UFM_OK)
		return status;
	if (config.norm_eps == 0)
		config.norm_eps = 1e-6f;
	const ufm_bank *bank = host_bank(engine_host(engine));
	ufm_bank_info bank_info;
	ufm_engine_info engine_info;
	ufm_bank_get_info(bank, &bank_info);
	ufm_engine_get_info(engine, &engine_info);
	status = check_config(&config, &bank_info, &engine_info);
	if (status != UFM_OK)
		return status;
	ufm_layer *layer = alloc_zeroed(1, sizeof *layer);
	if (!layer)
		return UFM_ENOMEM;
	layer->engine = engine;
	layer->config = config;
	layer->desc = bank_desc(bank);
	layer->experts = bank_info.experts;
	layer_set_source(layer, NULL);
	status = upload_all(layer);
	if (status != UFM_OK) {
		alloc_free(layer);
		return status;
	}
	*out = layer;
	return UFM_OK;
}

/* Its arena memory is freed with the engine. */
void ufm_layer_close(ufm_layer *layer)
{
	alloc_free(layer);
}
