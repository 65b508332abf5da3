/* SPDX-License-Identifier: MIT */
/* Fuzz target: a model's config.json. What is accepted says only what the struct may hold. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bank/model_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check_accepted(const model_config *m)
{
	require(memchr(m->model_type, '\0', sizeof m->model_type));
	require(memchr(m->hidden_act, '\0', sizeof m->hidden_act));
	require(memchr(m->expert_obstacle, '\0', sizeof m->expert_obstacle));
	require(memchr(m->router_obstacle, '\0', sizeof m->router_obstacle));
	require(!m->activation || *m->hidden_act);
	require((unsigned)m->activation <= UFM_ACT_SILU);
	require((unsigned)m->scoring <= UFM_SCORE_SIGMOID);
	require((unsigned)m->norm_topk <= MODEL_YES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char *text = malloc(size_bytes + 1);
	model_config model;
	ufm_status status;

	require(text);
	memcpy(text, data, size_bytes);
	status = model_config_parse(text, size_bytes, &model);
	if (status == UFM_OK)
		check_accepted(&model);
	else
		require(status == UFM_EFORMAT && *ufm_last_error() && !strchr(ufm_last_error(), '\n'));
	free(text);
	return 0;
}
