/* SPDX-License-Identifier: MIT */
/*
 * What published architectures compute, and the keys that say the rest. Activations and routers are in no file: they are
 * those of llama.cpp's graphs and of the same families in Hugging Face Transformers 5.17.
 */
#include "bank/gguf_model.h"

#include <stdio.h>
#include <string.h>

#include "bank/model_config_int.h"

typedef struct family {
	const char *names; /* values of general.architecture, separated by spaces */
	gguf_arithmetic arithmetic;
	ufm_scoring scoring;  /* 0: as the file says */
	model_said norm_topk; /* MODEL_NOT_SAID: as the file says */
	model_said norm_else; /* where the file may say it and does not */
	const char *router;   /* why tokens would go to other experts */
} family;

#define SILU .arithmetic = {.kind = UFM_EXPERT_GATED, .activation = UFM_ACT_SILU}

static const family families[] = {
	{.names = "llama qwen3moe qwen3vlmoe qwen35moe",
     SILU,
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = MODEL_YES},
	{.names = "qwen2moe olmoe deepseek", SILU, .scoring = UFM_SCORE_SOFTMAX, .norm_topk = MODEL_NO},
	{.names = "qwen3next", SILU, .scoring = UFM_SCORE_SOFTMAX},
	/* of the chosen logits alone, which is the same as one over all, normalised */
	{.names = "granitemoe granitehybrid",
     SILU,
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = MODEL_YES},
	{.names = "deepseek2 deepseek2-ocr glm4moe", SILU, .norm_else = MODEL_NO},
	{.names = "minimax-m2", SILU, .norm_topk = MODEL_YES},
	{.names = "afmoe dots1 ernie4_5-moe exaone-moe glm-dsa hunyuan-moe kimi-linear mimo2 mistral4",
     SILU},
	{.names = "phimoe", SILU, .router = "it routes by sparsemixer"},
	{.names = "nemotron_h_moe",
     .arithmetic = {.kind = UFM_EXPERT_MLP, .activation = UFM_ACT_RELU2}},
	{.names = "gpt-oss",
     .arithmetic = {.kind = UFM_EXPERT_GATED,
                    .activation = UFM_ACT_SILU,
                    .act_alpha = 1.702f,
                    .gate_limit = 7.0f,
                    .up_limit = 7.0f,
                    .up_offset = 1.0f},
     .router = "its router adds a bias to the logits"},
};

static bool is_named(const char *names, const char *architecture)
{
	char name[CONFIG_KEY_BYTES];

	while (config_next_key(&names, name)) {
		if (strcmp(name, architecture) == 0)
			return true;
	}
	return false;
}

static const family *family_of(const char *architecture)
{
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		if (is_named(families[i].names, architecture))
			return &families[i];
	}
	return NULL;
}

/* ---- reading */

typedef struct reading {
	const gguf_values *values;
	const char *architecture;
	const family *family; /* never NULL */
	model_config *m;
} reading;

/* What is said under "ARCHITECTURE.key". */
static const gguf_value *said(const reading *r, const char *key)
{
	char whole[MODEL_TEXT_BYTES];
	int length = snprintf(whole, sizeof whole, "%s.%s", r->architecture, key);

	return length > 0 && (size_t)length < sizeof whole ? gguf_find(r->values, whole) : NULL;
}

/* A count, or an array that has the same one for every layer; what else is said is an obstacle. */
static uint32_t read_count(const reading *r, const char *key, uint32_t most,
                           char obstacle[MODEL_TEXT_BYTES])
{
	const gguf_value *v = said(r, key);
	gguf_value one;
	char words[64];
	uint32_t count = 0;

	if (!v)
		return 0;
	one = *v;
	if (v->kind == GGUF_ARRAY && v->is_measured)
		one.kind = GGUF_NUMBER;
	if (one.low >= one.high && gguf_value_whole(&one, 0, most, &count))
		return count;
	/* Layers may differ: then the tensors alone say it. */
	if (v->kind != GGUF_ARRAY)
		config_obstacle(obstacle, "%s is %s, expected a whole number up to %u", v->key,
		                gguf_value_words(v, words, sizeof words), most);
	return 0;
}

static void read_architecture(reading *r)
{
	const gguf_value *v = gguf_find(r->values, "general.architecture");
	static const family unknown = {.names = ""};
	const family *known = NULL;
	model_config *m = r->m;

	r->architecture = v && v->text ? v->text : "";
	snprintf(m->model_type, sizeof m->model_type, "%s", r->architecture);
	if (*r->architecture)
		known = family_of(r->architecture);
	r->family = known ? known : &unknown;
	if (known)
		return;
	config_obstacle(m->expert_obstacle,
	                "general.architecture is \"%.80s\": what its experts compute is not known",
	                r->architecture);
	config_obstacle(m->router_obstacle,
	                "general.architecture is \"%.80s\": how it routes is not known",
	                r->architecture);
}

static void read_layers(const reading *r)
{
	model_config *m = r->m;
	uint32_t all = read_count(r, "block_count", MODEL_LAYERS_MAX, m->shape_obstacle);
	uint32_t past = read_count(r, "nextn_predict_layers", MODEL_LAYERS_MAX, m->shape_obstacle);

	m->layers = past < all ? all - past : 0;
	if (past && past >= all)
		config_obstacle(m->shape_obstacle, "nextn_predict_layers is %u of block_count %u", past,
		                all);
}

static void read_shape(const reading *r)
{
	model_config *m = r->m;

	m->experts = read_count(r, "expert_count", CONFIG_COUNT_MAX, m->shape_obstacle);
	m->d_hidden = read_count(r, "expert_feed_forward_length", CONFIG_WIDTH_MAX, m->shape_obstacle);
	m->d_model = read_count(r, "moe_latent_size", CONFIG_WIDTH_MAX, m->shape_obstacle);
	if (!m->d_model)
		m->d_model = read_count(r, "embedding_length", CONFIG_WIDTH_MAX, m->shape_obstacle);
	m->kind = r->family->arithmetic.kind;
	m->activation = r->family->arithmetic.activation;
}

/* ---- the router */

static void read_top_k(const reading *r)
{
	model_config *m = r->m;

	m->top_k = read_count(r, "expert_used_count", CONFIG_COUNT_MAX, m->top_k_obstacle);
	if (*m->top_k_obstacle)
		config_obstacle(m->router_obstacle, "%s", m->top_k_obstacle);
	else if (!m->top_k)
		config_obstacle(m->top_k_obstacle, "%s.expert_used_count is not there", r->architecture);
}

static void refuse(const reading *r, const gguf_value *v, const char *expected)
{
	char words[64];

	config_obstacle(r->m->router_obstacle, "%s is %s, expected %s", v->key,
	                gguf_value_words(v, words, sizeof words), expected);
}

static void read_norm(const reading *r)
{
	const gguf_value *v = said(r, "expert_weights_norm");
	model_said found = MODEL_NOT_SAID;

	if (v && v->kind != GGUF_BOOL)
		refuse(r, v, "true or false");
	else if (v)
		found = v->low > 0 ? MODEL_YES : MODEL_NO;
	r->m->norm_topk = r->family->norm_topk;
	if (!r->m->norm_topk)
		r->m->norm_topk = found ? found : r->family->norm_else;
	if (found && r->family->norm_topk && found != r->family->norm_topk)
		refuse(r, v,
		       found == MODEL_YES ? "false of this architecture" : "true of this architecture");
}

/* 0: not said, by converters that knew no better. 3: of the chosen logits alone. */
static void read_scoring(const reading *r)
{
	static const ufm_scoring scores[] = {0, UFM_SCORE_SOFTMAX, UFM_SCORE_SIGMOID,
	                                     UFM_SCORE_SOFTMAX};
	const gguf_value *v = said(r, "expert_gating_func");
	uint32_t number = 0;

	if (v && !gguf_value_whole(v, 0, 3, &number))
		refuse(r, v, "0 … 3");
	r->m->scoring = r->family->scoring ? r->family->scoring : scores[number];
	if (number && r->family->scoring && scores[number] != r->family->scoring)
		refuse(r, v, "what its architecture does");
	if (number == 3)
		r->m->norm_topk = MODEL_YES;
}

/* As if not there, or an obstacle. */
static void check_off(const reading *r, const char *key, double other)
{
	const gguf_value *v = said(r, key);
	bool off = v && v->is_measured && v->low >= v->high &&
	           ((v->low >= 0 && v->low <= 0) || (v->low >= other && v->low <= other));

	if (v && !off)
		refuse(r, v, other > 0 ? "0 or 1" : "0");
}

static void read_router(const reading *r)
{
	if (r->family->router)
		config_obstacle(r->m->router_obstacle, "general.architecture is \"%.60s\": %s",
		                r->architecture, r->family->router);
	read_top_k(r);
	read_norm(r);
	read_scoring(r);
	check_off(r, "expert_weights_scale", 1);
	check_off(r, "expert_group_count", 1);
	check_off(r, "expert_group_scale", 0);
	check_off(r, "experts_per_group", 0);
	check_off(r, "router_logit_softcapping", 0);
}

/* ---- what may change either */

static void check_clamp(const reading *r)
{
	const gguf_value *v = said(r, "swiglu_clamp_exp");

	if (v && !(v->is_measured && v->low >= 0 && v->high <= 0))
		config_obstacle(r->m->expert_obstacle, "%s is set, which is not understood", v->key);
}

/* Of a key without its architecture. */
static bool is_understood(const char *key)
{
	static const char *const keys =
		"expert_count expert_used_count expert_feed_forward_length expert_weights_norm "
		"expert_weights_scale expert_gating_func expert_group_count expert_group_used_count "
		"expert_group_scale experts_per_group router_logit_softcapping moe_latent_size "
		"swiglu_clamp_exp "
		/* about shared experts, and which layers are routed, which the tensors say */
		"expert_shared_count expert_shared_feed_forward_length swiglu_clamp_shexp "
		"moe_every_n_layers interleave_moe_layer_step";

	return is_named(keys, key);
}

static bool sounds_routed(const char *key)
{
	static const char *const words[] = {"expert", "moe", "rout", "gating", "swiglu"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strstr(key, words[i]))
			return true;
	}
	return false;
}

static void check_unknown(const reading *r)
{
	size_t prefix = strlen(r->architecture);

	for (uint32_t i = 0; prefix && i < r->values->count; i++) {
		const char *key = r->values->items[i].key;
		if (strncmp(key, r->architecture, prefix) != 0 || key[prefix] != '.')
			continue;
		if (!sounds_routed(key + prefix + 1) || is_understood(key + prefix + 1))
			continue;
		config_obstacle(r->m->expert_obstacle,
		                "%.100s: sounds like experts or routing and is not understood", key);
		config_obstacle(r->m->router_obstacle,
		                "%.100s: sounds like experts or routing and is not understood", key);
	}
}

void gguf_model_read(const gguf_values *values, model_config *out, gguf_arithmetic *arithmetic)
{
	reading r = {.values = values, .m = out};

	*out = (model_config){.layers = 0};
	read_architecture(&r);
	read_layers(&r);
	read_shape(&r);
	read_router(&r);
	check_clamp(&r);
	check_unknown(&r);
	*arithmetic = r.family->arithmetic;
}
