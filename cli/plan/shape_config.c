/* SPDX-License-Identifier: MIT */
/* Keys of config.json files as published models spell them. */
#include "cli/plan/shape_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/json_field.h"

#define COUNT_MAX 65536
#define WIDTH_MAX (1 << 20)

static void note(plan_shape *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(plan_shape *s, const char *format, ...)
{
	size_t used = strlen(s->notes);
	va_list args;
	if (used + 1 >= sizeof s->notes)
		return;
	if (used)
		s->notes[used++] = ' ';
	va_start(args, format);
	vsnprintf(s->notes + used, sizeof s->notes - used, format, args);
	va_end(args);
}

/* The first of the keys (separated by spaces) that is a whole number; 0: none is there. */
static ufm_status read_count(const json_t *config, const char *path, const char *keys, int most,
                             uint32_t *out)
{
	*out = 0;
	for (const char *at = keys; *at;) {
		char key[48];
		size_t length = strcspn(at, " ");
		snprintf(key, sizeof key, "%.*s", (int)length, at);
		at += length + (at[length] == ' ');
		const json_t *value = json_object_get(config, key);
		if (!value || json_is_null(value))
			continue;
		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		    json_integer_value(value) > most)
			return status_fail(UFM_EFORMAT, "%s: %s: expected a whole number from 0 to %d", path,
			                   key, most);
		*out = (uint32_t)json_integer_value(value);
		return UFM_OK;
	}
	return UFM_OK;
}

static ufm_status need_count(const json_t *config, const char *path, const char *keys, int most,
                             uint32_t *out)
{
	ufm_status status = read_count(config, path, keys, most, out);
	if (!status && *out == 0)
		status = status_fail(UFM_EFORMAT,
		                     "%s: found none of %s, expected one: is it a model with routed "
		                     "experts?",
		                     path, keys);
	return status;
}

/* The first layers are dense in some models, every other one in others, and some are listed. */
static ufm_status routed_layers(const json_t *config, const char *path, uint32_t *out)
{
	uint32_t layers, dense, every;
	ufm_status status = need_count(config, path, "num_hidden_layers n_layer", COUNT_MAX, &layers);
	if (!status)
		status = read_count(config, path, "first_k_dense_replace", COUNT_MAX, &dense);
	if (!status)
		status = read_count(config, path, "decoder_sparse_step moe_layer_freq", COUNT_MAX, &every);
	if (status)
		return status;
	uint32_t listed = (uint32_t)json_array_size(json_object_get(config, "mlp_only_layers"));
	layers = layers > dense + listed ? layers - dense - listed : 0;
	if (every > 1)
		layers /= every;
	if (layers == 0)
		return status_fail(UFM_EFORMAT, "%s: found no routed layer, expected at least one", path);
	*out = layers;
	return UFM_OK;
}

static ufm_dtype dtype_of(const json_t *config, plan_shape *s)
{
	const char *name = field_string(config, "torch_dtype");
	if (!*name)
		name = field_string(config, "dtype");
	if (strcmp(name, "float32") == 0)
		return UFM_F32;
	if (json_is_object(json_object_get(config, "quantization_config")))
		note(s, "It is published quantised; here its experts are bf16.");
	else if (strcmp(name, "float16") == 0)
		note(s, "Its float16 experts count as bf16 (ufm info --f16-as bf16).");
	else if (strcmp(name, "bfloat16") != 0)
		note(s, "It does not say its type; bf16 is assumed.");
	return UFM_BF16;
}

/* Models without a width of their own for experts use that of their dense layers. */
static ufm_status read_shape(const json_t *config, const char *path, plan_shape *out)
{
	shape_given g = {.kind = UFM_EXPERT_GATED};
	plan_shape s = {.notes = ""};
	ufm_status status = routed_layers(config, path, &g.layers);
	if (!status)
		status = need_count(config, path, "num_experts num_local_experts n_routed_experts",
		                    COUNT_MAX, &g.experts);
	if (!status)
		status =
			need_count(config, path, "num_experts_per_tok num_experts_per_token moe_top_k moe_topk",
		               COUNT_MAX, &g.top_k);
	if (!status)
		status = need_count(config, path, "hidden_size n_embd d_model", WIDTH_MAX, &g.d_model);
	if (!status)
		status = need_count(config, path, "moe_intermediate_size intermediate_size ffn_dim",
		                    WIDTH_MAX, &g.d_hidden);
	if (status)
		return status;
	g.dtype = dtype_of(config, &s);
	char notes[sizeof s.notes];
	memcpy(notes, s.notes, sizeof notes);
	if (shape_of_given(&g, &s) != UFM_OK)
		return status_prefix(UFM_EFORMAT, "%s", path);
	memcpy(s.notes, notes, sizeof notes);
	note(&s, "From its config.json: %u routed layers of gated experts.", g.layers);
	s.norm_topk = json_is_true(json_object_get(config, "norm_topk_prob"));
	if (strcmp(field_string(config, "scoring_func"), "sigmoid") == 0)
		s.scoring = UFM_SCORE_SIGMOID;
	*out = s;
	return UFM_OK;
}

ufm_status shape_of_config(const char *path, plan_shape *out)
{
	json_error_t error;
	json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!config && error.line < 0)
		return status_fail(UFM_EFILE, "%s: cannot be read: %s", path, error.text);
	if (!config)
		return status_fail(UFM_EFORMAT, "%s:%d: %s", path, error.line, error.text);
	/* Models that also see or hear keep what is said about text apart. */
	const json_t *text = json_object_get(config, "text_config");
	ufm_status status = read_shape(json_is_object(text) ? text : config, path, out);
	json_decref(config);
	return status;
}
