/* SPDX-License-Identifier: MIT */
/* Reads what a config.json says about routed layers. */
#include "bank/model_config.h"

#include <stdio.h>
#include <string.h>

#include "bank/checkpoint_int.h"
#include "base/alloc.h"
#include "base/json_pull.h"
#include "base/status.h"

#define CONFIG_BYTES_MAX (16u << 20)
#define COUNT_MAX 65536u

static void copy_text(char out[MODEL_TEXT_BYTES], const char *text)
{
	snprintf(out, MODEL_TEXT_BYTES, "%s", text);
}

/* The first obstacle is kept. */
#define OBSTACLE(out, ...) \
	do { \
		if (!*(out)) \
			snprintf((out), MODEL_TEXT_BYTES, __VA_ARGS__); \
	} while (0)

/* null means: not said. */
static bool is_null(json_pull *r)
{
	return json_pull_peek(r) == JSON_PULL_NULL && json_pull_skip(r);
}

static void read_text(json_pull *r, char out[MODEL_TEXT_BYTES])
{
	const char *text;

	if (!is_null(r) && json_pull_string(r, &text))
		copy_text(out, text);
}

static void read_activation(json_pull *r, model_config *m, const char *key)
{
	(void)key;
	read_text(r, m->hidden_act);
	if (strcmp(m->hidden_act, "silu") == 0 || strcmp(m->hidden_act, "swish") == 0)
		m->activation = UFM_ACT_SILU;
	else if (strcmp(m->hidden_act, "gelu") == 0)
		m->activation = UFM_ACT_GELU;
}

static void read_model_type(json_pull *r, model_config *m, const char *key)
{
	(void)key;
	read_text(r, m->model_type);
}

/* A count, of which two keys must not say different things. Some models give a number for each layer:
 * which is whose is not known here. */
static void read_count(json_pull *r, uint32_t *out, char *obstacle, const char *key)
{
	uint64_t value;

	if (is_null(r))
		return;
	if (json_pull_peek(r) != JSON_PULL_NUMBER) {
		OBSTACLE(obstacle, "%s is no number", key);
		json_pull_skip(r);
		return;
	}
	if (!json_pull_u64(r, &value))
		return;
	if (value < 1 || value > COUNT_MAX || (*out && *out != value))
		OBSTACLE(obstacle, "%s is %llu%s", key, (unsigned long long)value,
		         *out ? ", another key says otherwise" : "");
	else
		*out = (uint32_t)value;
}

static void read_top_k(json_pull *r, model_config *m, const char *key)
{
	read_count(r, &m->top_k, m->router_obstacle, key);
}

static void read_experts(json_pull *r, model_config *m, const char *key)
{
	read_count(r, &m->experts, m->expert_obstacle, key);
}

static void read_norm(json_pull *r, model_config *m, const char *key)
{
	bool value;

	(void)key;
	if (!is_null(r) && json_pull_bool(r, &value))
		m->norm_topk = value ? MODEL_YES : MODEL_NO;
}

static void read_scoring(json_pull *r, model_config *m, const char *key)
{
	(void)key;
	read_text(r, m->scoring_func);
	if (strcmp(m->scoring_func, "softmax") == 0)
		m->scoring = UFM_SCORE_SOFTMAX;
	else if (strcmp(m->scoring_func, "sigmoid") == 0)
		m->scoring = UFM_SCORE_SIGMOID;
}

/* A number that must be 1, as if it were not there. */
static void read_one(json_pull *r, model_config *m, const char *key)
{
	double value = 1;

	if (is_null(r) || !json_pull_double(r, &value))
		return;
	if (value < 1 || value > 1)
		OBSTACLE(m->router_obstacle, "%s is %g, expected 1", key, value);
}

/* A switch that must be off. */
static void read_off(json_pull *r, model_config *m, const char *key)
{
	bool value;

	if (!is_null(r) && json_pull_bool(r, &value) && value)
		OBSTACLE(m->router_obstacle, "%s is true, which is not understood", key);
}

static void read_topk_method(json_pull *r, model_config *m, const char *key)
{
	char text[MODEL_TEXT_BYTES] = "";

	read_text(r, text);
	if (*text && strcmp(text, "greedy") != 0)
		OBSTACLE(m->router_obstacle, "%s is \"%.40s\", expected greedy", key, text);
}

/* An expert's own arithmetic, which no activation here has. */
static void read_clamp(json_pull *r, model_config *m, const char *key)
{
	if (is_null(r))
		return;
	json_pull_skip(r);
	OBSTACLE(m->expert_obstacle, "%s is set, which is not understood", key);
}

/* `top_k` alone is not among them: in these files it is a setting of text generation. */
static const struct {
	const char *key;
	void (*read)(json_pull *r, model_config *m, const char *key);
} fields[] = {
	{"model_type", read_model_type},
	{"hidden_act", read_activation},
	{"num_experts", read_experts},
	{"num_local_experts", read_experts},
	{"n_routed_experts", read_experts},
	{"num_experts_per_tok", read_top_k},
	{"num_experts_per_token", read_top_k},
	{"moe_top_k", read_top_k},
	{"moe_topk", read_top_k},
	{"norm_topk_prob", read_norm},
	{"scoring_func", read_scoring},
	{"n_group", read_one},
	{"topk_group", read_one},
	{"routed_scaling_factor", read_one},
	{"topk_method", read_topk_method},
	{"moe_router_enable_expert_bias", read_off},
	{"use_expert_bias", read_off},
	{"swiglu_limit", read_clamp},
};

static void read_field(json_pull *r, model_config *m, const char *key)
{
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (strcmp(fields[i].key, key) != 0)
			continue;
		fields[i].read(r, m, key);
		if (r->status)
			json_pull_stop(r, status_prefix(r->status, "%s", key));
		return;
	}
	json_pull_skip(r);
}

/* What these models' own code does whatever their files say. */
static const struct {
	const char *model_type;
	ufm_scoring scoring;
	model_said norm_topk; /* MODEL_NOT_SAID: as norm_topk_prob says */
} models[] = {
	{"mixtral", UFM_SCORE_SOFTMAX, MODEL_YES},
	{"qwen2_moe", UFM_SCORE_SOFTMAX, MODEL_NOT_SAID},
	{"qwen3_moe", UFM_SCORE_SOFTMAX, MODEL_NOT_SAID},
	{"olmoe", UFM_SCORE_SOFTMAX, MODEL_NOT_SAID},
};

static void apply_model_type(model_config *m)
{
	for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
		if (strcmp(models[i].model_type, m->model_type) != 0)
			continue;
		m->scoring = models[i].scoring;
		if (models[i].norm_topk)
			m->norm_topk = models[i].norm_topk;
	}
	if (strcmp(m->model_type, "gpt_oss") == 0)
		OBSTACLE(m->expert_obstacle, "model_type gpt_oss: its activation is not understood");
}

ufm_status model_config_parse(char *text, size_t size, model_config *out)
{
	model_config m = {0};
	json_pull r;
	const char *key;
	ufm_status status;

	json_pull_begin(&r, text, size);
	if (json_pull_object(&r))
		while (json_pull_next_key(&r, &key))
			read_field(&r, &m, key);
	status = json_pull_end(&r);
	if (status)
		return status;
	apply_model_type(&m);
	*out = m;
	return UFM_OK;
}

ufm_status model_config_read(const char *path, model_config *out)
{
	uint64_t size;
	char *text;
	ufm_status status;

	if (!path) {
		*out = (model_config){0};
		return UFM_OK;
	}
	status = checkpoint_read_text(path, CONFIG_BYTES_MAX, &text, &size);
	if (status)
		return status;
	status = model_config_parse(text, size, out);
	alloc_free(text);
	return status ? status_prefix(status, "%s", path) : UFM_OK;
}
