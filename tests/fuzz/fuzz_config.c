/* SPDX-License-Identifier: MIT */
/* Fuzz target: a model's config.json. What is accepted says only what the struct may hold. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bank/model_config.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_accepted(const model_config *m)
{
	const char *const texts[] = {m->model_type,      m->activation_key, m->hidden_act,
	                             m->dtype,           m->quantised,      m->scoring_func,
	                             m->top_k_obstacle,  m->shape_obstacle, m->expert_obstacle,
	                             m->router_obstacle, m->layout_note,    m->left_out,
	                             m->others};
	uint32_t routed = 0;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		require(memchr(texts[i], '\0', MODEL_TEXT_BYTES));
	require(!m->activation || *m->hidden_act);
	require((unsigned)m->activation <= UFM_ACT_SILU);
	require((unsigned)m->scoring <= UFM_SCORE_SIGMOID);
	require((unsigned)m->norm_topk <= MODEL_YES);
	require((unsigned)m->kind <= UFM_EXPERT_GATED);
	require(m->layers <= MODEL_LAYERS_MAX);
	for (uint32_t i = 0; i < MODEL_LAYERS_MAX; i++)
		routed += model_config_is_routed(m, i);
	require(routed == m->routed_layers);
	/* Without an obstacle everything is known. */
	require(*m->shape_obstacle || (m->routed_layers && m->experts && m->d_model && m->d_hidden));
	require(m->top_k || *m->top_k_obstacle);
}

static void try_tower(const uint8_t *data, size_t size_bytes, const char *tower)
{
	char *text = malloc(size_bytes + 1);
	model_config model;
	ufm_status status;

	require(text);
	memcpy(text, data, size_bytes);
	status = model_config_parse(text, size_bytes, tower, &model);
	if (status == UFM_OK)
		check_accepted(&model);
	else
		require(status == UFM_EFORMAT && *ufm_last_error() && !strchr(ufm_last_error(), '\n'));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	try_tower(data, size_bytes, NULL);
	try_tower(data, size_bytes, "talker.model.layers");
	return 0;
}
