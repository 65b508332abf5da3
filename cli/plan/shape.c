/* SPDX-License-Identifier: MIT */
/* Shapes from presets, numbers, and checkpoints whose weights are there. */
#include "cli/plan/shape.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "cli/info.h"
#include "cli/json_field.h"
#include "cli/plan/shape_config.h"

ufm_status shape_of_preset(const preset *p, plan_shape *out)
{
	plan_shape s = {.top_k = p->top_k, .norm_topk = p->norm_topk, .scoring = p->scoring};
	ufm_status status = preset_bank(p, &s.bank);
	if (status)
		return status;
	snprintf(s.name, sizeof s.name, "%s", p->name);
	if (p->left_out)
		snprintf(s.notes, sizeof s.notes, "Left out of the shape: %s.", p->left_out);
	*out = s;
	return UFM_OK;
}

ufm_status shape_of_given(const shape_given *g, plan_shape *out)
{
	plan_shape s = {.name = "the given shape", .top_k = g->top_k, .scoring = UFM_SCORE_SOFTMAX};
	if (g->top_k > g->experts)
		return status_fail(UFM_EINVAL,
		                   "--top-k: found %u, expected at most %u, the number of --experts",
		                   g->top_k, g->experts);
	if ((uint64_t)g->layers * g->experts > SHAPE_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "layers x experts: found %llu, expected at most %u",
		                   (unsigned long long)g->layers * g->experts, SHAPE_EXPERTS_MAX);
	ufm_status status =
		ufm_expert_desc_init(&s.bank.desc, g->kind, g->d_model, g->d_hidden, g->dtype);
	if (status)
		return status;
	s.bank.layers = g->layers;
	s.bank.experts = g->experts;
	s.bank.bank_bytes = (uint64_t)g->layers * g->experts * s.bank.desc.expert_bytes;
	*out = s;
	return UFM_OK;
}

double shape_parameters(const plan_shape *s)
{
	double parameters = 0;
	for (uint32_t i = 0; i < s->bank.desc.part_count; i++)
		parameters += (double)s->bank.desc.parts[i].rows * s->bank.desc.parts[i].cols;
	return parameters;
}

/* ---- a checkpoint with its weights */

static ufm_expert_kind kind_of(const char *name)
{
	return strcmp(name, "gated") == 0 ? UFM_EXPERT_GATED
	       : strcmp(name, "mlp") == 0 ? UFM_EXPERT_MLP
	                                  : UFM_EXPERT_MLP_BIAS;
}

static ufm_status from_facts(const char *path, json_t *facts, plan_shape *out)
{
	json_t *router = json_object_get(facts, "router");
	if (field_known(facts, "obstacle"))
		return status_fail(UFM_EFORMAT, "%s: these experts cannot be run: %s", path,
		                   field_string(facts, "obstacle"));
	if (!field_known(facts, "kind"))
		return status_fail(UFM_EFORMAT, "%s: its experts have no standard layout: give the shape",
		                   path);
	if (!field_known(router, "top_k"))
		return status_fail(UFM_EFORMAT,
		                   "%s: top k is not known, expected num_experts_per_tok in a config.json "
		                   "beside the weights, or the shape by --layers … --top-k",
		                   path);
	shape_given given = {.layers = (uint32_t)field_whole(facts, "layers"),
	                     .experts = (uint32_t)field_whole(facts, "experts"),
	                     .top_k = (uint32_t)field_whole(router, "top_k"),
	                     .d_model = (uint32_t)field_whole(facts, "d_model"),
	                     .d_hidden = (uint32_t)field_whole(facts, "d_hidden"),
	                     .kind = kind_of(field_string(facts, "kind")),
	                     .dtype =
	                         strcmp(field_string(facts, "dtype"), "f32") == 0 ? UFM_F32 : UFM_BF16};
	ufm_status status = shape_of_given(&given, out);
	if (status)
		return status_prefix(UFM_EFORMAT, "%s", path);
	out->norm_topk = json_is_true(json_object_get(router, "norm_topk"));
	if (strcmp(field_string(router, "scoring"), "sigmoid") == 0)
		out->scoring = UFM_SCORE_SIGMOID;
	return UFM_OK;
}

static ufm_status from_weights(const char *path, plan_shape *out)
{
	json_t *facts;
	ufm_status status = info_facts(path, UFM_BF16, &facts);
	if (status)
		return status;
	status = from_facts(path, facts, out);
	json_decref(facts);
	return status;
}

/* ---- which of them a path is */

static bool ends_with(const char *text, const char *ending)
{
	size_t length = strlen(text), end = strlen(ending);
	return length >= end && strcmp(text + length - end, ending) == 0;
}

static bool exists(const char *folder, const char *name)
{
	char path[4096];
	struct stat st;
	int length = snprintf(path, sizeof path, "%s/%s", folder, name);
	return length > 0 && (size_t)length < sizeof path && stat(path, &st) == 0;
}

/* A folder from which weights are still missing: a config.json, and neither an index nor a file of weights. */
static bool is_config_only(const char *path)
{
	return exists(path, "config.json") && !exists(path, "model.safetensors") &&
	       !exists(path, "model.safetensors.index.json");
}

ufm_status shape_of_path(const char *path, plan_shape *out)
{
	char config[4096];
	struct stat st;
	ufm_status status;
	plan_shape s;
	if (stat(path, &st) != 0)
		return status_fail(UFM_EFILE, "%s: there is no such file or folder", path);
	if (S_ISDIR(st.st_mode) && is_config_only(path)) {
		snprintf(config, sizeof config, "%.4000s/config.json", path);
		status = shape_of_config(config, &s);
	} else {
		status =
			ends_with(path, "config.json") ? shape_of_config(path, &s) : from_weights(path, &s);
	}
	if (status)
		return status;
	snprintf(s.name, sizeof s.name, "%.150s", path);
	*out = s;
	return UFM_OK;
}
