/* SPDX-License-Identifier: MIT */
/* Gathers what the experts of GGUF files are, kind by kind. */
#include <string.h>

#include "bank/gguf_experts.h"
#include "base/status.h"
#include "cli/info_int.h"
#include "cli/json_put.h"

static json_t *kind_numbers(const gguf_set *set, uint32_t kind)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < set->count; i++)
		if (set->layers[i].kind == kind)
			json_add(list, json_integer(set->layers[i].number));
	return list;
}

static json_t *kind_facts(const gguf_set *set, uint32_t index)
{
	const gguf_layer_kind *kind = &set->kinds[index];
	uint64_t layer_bytes = kind->experts * kind->desc.expert_bytes;
	char types[BANK_TYPES_BYTES];
	json_t *out = json_object();
	info_set_text(out, "types", bank_types_text(&kind->desc, types, sizeof types));
	info_set_whole(out, "layers", kind->layers);
	json_put(out, "layer_numbers", kind_numbers(set, index));
	info_set_whole(out, "experts", kind->experts);
	info_set_whole(out, "d_model", kind->desc.d_model);
	info_set_whole(out, "d_hidden", kind->desc.d_hidden);
	info_set_whole(out, "expert_bytes", kind->desc.expert_bytes);
	info_set_whole(out, "layer_bytes", layer_bytes);
	info_set_whole(out, "bank_bytes", kind->layers * layer_bytes);
	return out;
}

static void set_kinds(json_t *facts, const gguf_set *set)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < set->kind_count; i++)
		json_add(list, kind_facts(set, i));
	json_put(facts, "kinds", list);
}

static void set_sums(json_t *facts, const gguf_set *set)
{
	uint64_t bank_bytes = 0, host_bytes = 0;
	for (uint32_t i = 0; i < set->kind_count; i++) {
		const gguf_layer_kind *kind = &set->kinds[i];
		uint64_t experts = (uint64_t)kind->layers * kind->experts;
		bank_bytes += experts * kind->desc.expert_bytes;
		host_bytes += experts * kind->desc.block_bytes;
	}
	info_set_whole(facts, "bank_bytes", bank_bytes);
	info_set_whole(facts, "host_bytes", host_bytes);
}

/* As the headers spell it; NULL where matrices differ. */
static const char *file_type(const gguf_set *set)
{
	const ufm_expert_desc *desc = &set->kinds[0].desc;
	const char *common = NULL;
	for (uint32_t i = 0; i < desc->part_count; i++) {
		const checkpoint_tensor *t = set->layers[0].parts[i].tensors[0];
		bool is_matrix = desc->parts[i].role == UFM_ROLE_UP ||
		                 desc->parts[i].role == UFM_ROLE_GATE ||
		                 desc->parts[i].role == UFM_ROLE_DOWN;
		if (common && is_matrix && strcmp(common, checkpoint_dtype_name(t->dtype)) != 0)
			return NULL;
		if (is_matrix)
			common = checkpoint_dtype_name(t->dtype);
	}
	return common;
}

/* Of all kinds together where they agree; else `kinds` alone has it. */
static void set_common(json_t *facts, const gguf_set *set)
{
	static const char *const same[] = {"experts", "d_model", "d_hidden", "expert_bytes",
	                                   "layer_bytes"};
	json_t *kinds = json_object_get(facts, "kinds"), *first = json_array_get(kinds, 0), *kind;
	size_t k;
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		bool alike = true;
		json_array_foreach(kinds, k, kind)
		{
			alike &= json_equal(json_object_get(kind, same[i]), json_object_get(first, same[i]));
		}
		if (alike)
			json_put(facts, same[i], json_incref(json_object_get(first, same[i])));
	}
	info_set_whole(facts, "layers", set->count);
	if (json_array_size(kinds) == 1) {
		json_put(facts, "dtype", json_incref(json_object_get(first, "types")));
		info_set_text(facts, "file_dtype", file_type(set));
	}
}

static void set_expert(json_t *facts, const gguf_set *set)
{
	const ufm_expert_desc *desc = &set->kinds[0].desc;
	bool gated = ufm_expert_part(desc, UFM_ROLE_GATE),
		 bias = ufm_expert_part(desc, UFM_ROLE_UP_BIAS);
	ufm_expert_kind kind = gated ? UFM_EXPERT_GATED : bias ? UFM_EXPERT_MLP_BIAS : UFM_EXPERT_MLP;
	info_set_text(facts, "kind", info_kind_name(kind));
	info_set_text(facts, "layout", set->layers[0].parts[0].single ? "single" : "fused");
	if (desc->activation)
		info_set_text(facts, "activation", info_activation_name(desc->activation));
}

static ufm_status set_router(json_t *facts, const gguf_set *set, const checkpoint *c,
                             const model_config *model)
{
	json_t *router = info_router(model);
	uint32_t count = 0;
	ufm_status status = UFM_OK;
	json_put(facts, "router", router);
	for (uint32_t i = 0; i < set->count && !status; i++) {
		const checkpoint_tensor *t;
		status = gguf_experts_router(set, c, i, &t);
		count += !status && t != NULL;
	}
	info_set_whole(router, "layers", count);
	return info_set_obstacle(router, status);
}

/* What a bank of them would be refused for. */
static ufm_status check_runnable(const gguf_set *set, const model_config *model)
{
	ufm_status status = gguf_experts_check_model(set, model);
	if (!status && *model->expert_obstacle)
		status = status_fail(UFM_EFORMAT, "%s", model->expert_obstacle);
	for (uint32_t i = 0; i < set->kind_count && !status; i++)
		status = bank_check_desc(&set->kinds[i].desc);
	return status;
}

ufm_status info_gguf(json_t *facts, const checkpoint *c, const towers *t, ufm_dtype f16_as)
{
	gguf_set set;
	ufm_status status = gguf_experts_find(c, t, 0, 0, f16_as, &set);
	if (status)
		return info_set_obstacle(facts, status);
	set_kinds(facts, &set);
	set_common(facts, &set);
	set_sums(facts, &set);
	set_expert(facts, &set);
	status = set_router(facts, &set, c, &t->model);
	if (!status)
		status = info_set_obstacle(facts, check_runnable(&set, &t->model));
	gguf_experts_free(&set);
	return status;
}
