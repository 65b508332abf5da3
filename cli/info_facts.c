/* SPDX-License-Identifier: MIT */
/* Gathers what a packed bank or a checkpoint is. */
#include <stdio.h>
#include <sys/stat.h>

#include "bank/bank.h"
#include "bank/experts.h"
#include "bank/model_config.h"
#include "base/status.h"
#include "cli/info.h"
#include "cli/info_int.h"
#include "cli/json_put.h"
#include "cli/json_text.h"

/* Replaces what the object has under that name. */
void info_set_text(json_t *facts, const char *name, const char *text)
{
	json_put(facts, name, json_text(text));
}

void info_set_whole(json_t *facts, const char *name, uint64_t value)
{
	json_put(facts, name, json_integer((json_int_t)value));
}

const char *info_kind_name(ufm_expert_kind kind)
{
	static const char *const names[] = {
		[UFM_EXPERT_MLP] = "mlp", [UFM_EXPERT_MLP_BIAS] = "mlp-bias", [UFM_EXPERT_GATED] = "gated"};
	return names[kind];
}

const char *info_activation_name(ufm_activation activation)
{
	static const char *const names[] = {[UFM_ACT_GELU] = "gelu",
	                                    [UFM_ACT_SILU] = "silu",
	                                    [UFM_ACT_GELU_TANH] = "gelu-tanh",
	                                    [UFM_ACT_RELU2] = "relu2"};
	return names[activation];
}

/* What scales a matrix is a matter of its format. */
static uint32_t own_parts(const ufm_expert_desc *desc)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < desc->part_count; i++)
		count += desc->parts[i].role < UFM_ROLE_UP_SCALE;
	return count;
}

/* NULL for a layout that is none of the standard ones. */
static const char *desc_kind(const ufm_expert_desc *desc)
{
	ufm_expert_desc standard = {.struct_size = sizeof standard};
	for (ufm_expert_kind kind = UFM_EXPERT_MLP; kind <= UFM_EXPERT_GATED; kind++) {
		bool same = ufm_expert_desc_init(&standard, kind, desc->d_model, desc->d_hidden, UFM_F32) ==
		                UFM_OK &&
		            standard.part_count == own_parts(desc);
		for (uint32_t i = 0; same && i < standard.part_count; i++)
			same = ufm_expert_part(desc, standard.parts[i].role) != NULL;
		if (same)
			return info_kind_name(kind);
	}
	return NULL;
}

static void set_bank(json_t *facts, const bank_shape *info)
{
	const ufm_expert_desc *desc = &info->desc;
	char types[BANK_TYPES_BYTES];
	info_set_text(facts, "dtype", bank_types_text(desc, types, sizeof types));
	info_set_text(facts, "activation", info_activation_name(desc->activation));
	info_set_whole(facts, "expert_bytes", desc->expert_bytes);
	info_set_whole(facts, "layer_bytes", info->experts * desc->expert_bytes);
	info_set_whole(facts, "bank_bytes", info->bank_bytes);
	info_set_whole(facts, "host_bytes", (uint64_t)info->layers * info->experts * desc->block_bytes);
}

/* Every name is there in this order, whatever is known. */
static json_t *empty_facts(const char *path, const char *format)
{
	static const char *const names[] = {
		"files",      "tensors",    "model_type", "prefix",     "layers",       "layer_numbers",
		"left_aside", "experts",    "kind",       "layout",     "d_model",      "d_hidden",
		"file_dtype", "quantised",  "dtype",      "activation", "expert_bytes", "layer_bytes",
		"bank_bytes", "host_bytes", "kinds",      "router",     "obstacle",     "preset",
		"source",     "left_out"};
	json_t *facts = json_object();
	info_set_text(facts, "path", path);
	info_set_text(facts, "format", format);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		json_put(facts, names[i], json_null());
	return facts;
}

static void add_file(json_t *files, const char *path, uint64_t size_bytes)
{
	json_t *file = json_object();
	info_set_text(file, "path", path);
	info_set_whole(file, "bytes", size_bytes);
	json_add(files, file);
}

static void set_counts(json_t *facts, uint32_t layers, uint32_t experts, uint32_t d_model,
                       uint32_t d_hidden)
{
	info_set_whole(facts, "layers", layers);
	info_set_whole(facts, "experts", experts);
	info_set_whole(facts, "d_model", d_model);
	info_set_whole(facts, "d_hidden", d_hidden);
}

json_t *info_numbers(const uint32_t *numbers, uint32_t count)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_add(list, json_integer(numbers ? numbers[i] : i));
	return list;
}

/* Of plain elements, as headers of checkpoints spell it. */
static const char *file_type(const ufm_expert_desc *desc)
{
	static const char *const names[] = {[UFM_F32] = "F32", [UFM_BF16] = "BF16", [UFM_F16] = "F16"};
	const ufm_part *up = ufm_expert_part(desc, UFM_ROLE_UP);
	return up->format ? ufm_format_name((ufm_format)up->format) : names[up->dtype];
}

static ufm_status packed_facts(const char *path, json_t **out)
{
	ufm_bank *bank;
	bank_shape info;
	struct stat st;
	json_t *facts, *files = json_array();
	ufm_status status = ufm_bank_open(path, &bank);
	if (status) {
		json_decref(files);
		return status;
	}
	info = *bank_get_shape(bank); /* what is told of outlives the bank */
	ufm_bank_close(bank);
	facts = empty_facts(path, "packed");
	add_file(files, path, stat(path, &st) == 0 ? (uint64_t)st.st_size : 0);
	json_put(facts, "files", files);
	set_counts(facts, info.layers, info.experts, info.desc.d_model, info.desc.d_hidden);
	json_put(facts, "layer_numbers", info_numbers(NULL, info.layers));
	info_set_text(facts, "kind", desc_kind(&info.desc));
	set_bank(facts, &info);
	info_set_text(facts, "file_dtype", file_type(&info.desc));
	*out = facts;
	return UFM_OK;
}

/* ---- checkpoints */

static void set_files(json_t *facts, const checkpoint *c)
{
	json_t *files = json_array();
	for (uint32_t i = 0; i < checkpoint_file_count(c); i++)
		add_file(files, checkpoint_file_path(c, i), checkpoint_file_bytes(c, i));
	json_put(facts, "files", files);
	info_set_whole(facts, "tensors", checkpoint_tensor_count(c));
}

/* A lack of memory, or a file that cannot be read, says nothing of the experts. */
static bool is_of_file(ufm_status status)
{
	return status != UFM_ENOMEM && status != UFM_EFILE && status != UFM_EEXPERT_IO;
}

/* The failure becomes a fact where it is one. */
ufm_status info_set_obstacle(json_t *facts, ufm_status status)
{
	if (!status || !is_of_file(status))
		return status;
	info_set_text(facts, "obstacle", ufm_last_error());
	return UFM_OK;
}

/* How many layers have a router; what is wrong with one goes to `obstacle`. */
static ufm_status count_routers(const checkpoint *c, const expert_set *found, json_t *router)
{
	uint32_t count = 0;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < found->layers && !status; i++) {
		const checkpoint_tensor *t;
		status = experts_router(found, c, i, &t);
		count += !status && t != NULL;
	}
	info_set_whole(router, "layers", count);
	return info_set_obstacle(router, status);
}

static const char *router_obstacle(const model_config *model, char *line, size_t size)
{
	if (*model->router_obstacle || model->scoring || !*model->scoring_func)
		return model->router_obstacle;
	snprintf(line, size, "scoring_func is \"%s\", expected softmax or sigmoid",
	         model->scoring_func);
	return line;
}

json_t *info_router(const model_config *model)
{
	char line[2 * MODEL_TEXT_BYTES];
	json_t *router = json_object();
	info_set_whole(router, "layers", 0);
	json_put(router, "top_k", model->top_k ? json_integer(model->top_k) : json_null());
	info_set_text(router, "scoring",
	              model->scoring == UFM_SCORE_SOFTMAX   ? "softmax"
	              : model->scoring == UFM_SCORE_SIGMOID ? "sigmoid"
	                                                    : NULL);
	json_put(router, "norm_topk",
	         model->norm_topk ? json_boolean(model->norm_topk == MODEL_YES) : json_null());
	info_set_text(router, "obstacle", router_obstacle(model, line, sizeof line));
	return router;
}

static ufm_status set_experts(json_t *facts, const checkpoint *c, const expert_set *found,
                              const model_config *model)
{
	set_counts(facts, found->layers, found->experts, found->d_model, found->d_hidden);
	info_set_text(facts, "kind", found->biased ? "gated-bias" : info_kind_name(found->kind));
	info_set_text(facts, "layout", found->fused ? "fused" : "single");
	info_set_text(facts, "file_dtype", checkpoint_dtype_name(found->dtype));
	info_set_text(facts, "quantised", found->quantised);
	json_put(facts, "router", info_router(model));
	return count_routers(c, found, json_object_get(facts, "router"));
}

static void set_tower(json_t *out, const tower *t)
{
	char name[512];
	info_set_text(out, "prefix", t->name_bytes ? tower_text(t, name, sizeof name) : NULL);
	info_set_whole(out, "layers", t->layers);
	json_put(out, "layer_numbers", info_numbers(t->numbers, t->layers));
}

/* The one that is taken, and what is left aside. */
static void set_towers(json_t *facts, const towers *t)
{
	json_t *left = json_array();
	for (uint32_t i = 1; i < t->count; i++) {
		json_t *one = json_object();
		set_tower(one, &t->items[i]);
		json_add(left, one);
	}
	if (t->count)
		set_tower(facts, &t->items[0]);
	json_put(facts, "left_aside", left);
}

/* What the bank would be, or why there is none. */
static ufm_status set_outcome(json_t *facts, const char *path, const char *prefix, ufm_dtype f16_as)
{
	const ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .f16_as = f16_as, .prefix = prefix};
	ufm_bank *bank;
	ufm_status status = ufm_bank_checkpoint(path, &config, &bank);
	if (status)
		return info_set_obstacle(facts, status);
	set_bank(facts, bank_get_shape(bank));
	ufm_bank_close(bank);
	return UFM_OK;
}

static ufm_status add_experts(json_t *facts, const checkpoint *c, const towers *t, const char *path,
                              const char *prefix, ufm_dtype f16_as)
{
	expert_set found;
	ufm_status status = experts_find(c, t, 0, 0, &found);
	if (status)
		return info_set_obstacle(facts, status);
	status = set_experts(facts, c, &found, &t->model);
	if (!status)
		status = set_outcome(facts, path, prefix, f16_as);
	experts_free(&found);
	return status;
}

static ufm_status describe(const checkpoint *c, const towers *t, const char *path,
                           const char *prefix, ufm_dtype f16_as, json_t **out)
{
	json_t *facts = empty_facts(path, checkpoint_format_name(c));
	set_files(facts, c);
	info_set_text(facts, "model_type", t->model.model_type);
	set_towers(facts, t);
	ufm_status status = checkpoint_values(c) ? info_gguf(facts, c, t, f16_as)
	                                         : add_experts(facts, c, t, path, prefix, f16_as);
	if (status)
		json_decref(facts);
	else
		*out = facts;
	return status;
}

static ufm_status checkpoint_facts(const char *path, const char *prefix, ufm_dtype f16_as,
                                   json_t **out)
{
	checkpoint *c;
	towers t;
	ufm_status status = checkpoint_open(path, &c);
	if (status)
		return status;
	status = towers_find(c, prefix, &t);
	if (status) {
		checkpoint_close(c);
		return status;
	}
	status = describe(c, &t, path, prefix, f16_as, out);
	towers_free(&t);
	checkpoint_close(c);
	return status;
}

/* A packed bank is one stack of layers, and has no names. */
ufm_status info_facts(const char *path, const char *prefix, ufm_dtype f16_as, json_t **out)
{
	if (bank_is_checkpoint(path))
		return checkpoint_facts(path, prefix, f16_as, out);
	if (prefix)
		return status_fail(UFM_EINVAL, "--prefix: found with %.200s, expected a checkpoint", path);
	return packed_facts(path, out);
}

/* ---- presets */

static json_t *preset_router(const preset *p)
{
	json_t *router = json_object();
	info_set_whole(router, "layers", p->layers);
	info_set_whole(router, "top_k", p->top_k);
	info_set_text(router, "scoring", p->scoring == UFM_SCORE_SIGMOID ? "sigmoid" : "softmax");
	json_put(router, "norm_topk", json_boolean(p->norm_topk));
	info_set_text(router, "obstacle", NULL);
	return router;
}

static void set_following(json_t *facts, uint32_t first, uint32_t count)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_add(list, json_integer(first + i));
	json_put(facts, "layer_numbers", list);
}

ufm_status info_preset(const preset *p, json_t **out)
{
	bank_shape info;
	json_t *facts;
	ufm_status status = preset_bank(p, &info);
	if (status)
		return status;
	facts = empty_facts(NULL, "preset");
	info_set_text(facts, "preset", p->name);
	info_set_text(facts, "source", p->source);
	info_set_text(facts, "left_out", p->left_out);
	set_counts(facts, p->layers, p->experts, p->d_model, p->d_hidden);
	set_following(facts, p->first_layer, p->layers);
	info_set_text(facts, "kind", info_kind_name(UFM_EXPERT_GATED));
	set_bank(facts, &info);
	json_put(facts, "router", preset_router(p));
	*out = facts;
	return UFM_OK;
}
