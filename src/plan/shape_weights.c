/* SPDX-License-Identifier: MIT */
/* Reads the shape off the names and shapes of a checkpoint's tensors. */
#include "plan/shape_int.h"

#include "bank/bank.h"
#include "bank/gguf_experts.h"
#include "bank/towers.h"
#include "base/status.h"

/* Of quantised experts whatever the shape is begun with. */
static ufm_status dtype_of(const expert_set *found, plan_shape *s, ufm_dtype *out)
{
	if (found->quantised) {
		*out = UFM_BF16;
		return UFM_OK;
	}
	switch ((int)found->dtype) {
	case CHECKPOINT_F32:
		*out = UFM_F32;
		return UFM_OK;
	case CHECKPOINT_F16:
		shape_note(s, "Its float16 experts count as bf16 (ufm info --f16-as bf16).");
		*out = UFM_BF16;
		return UFM_OK;
	case CHECKPOINT_BF16:
		*out = UFM_BF16;
		return UFM_OK;
	default:
		return status_fail(UFM_EFORMAT, "experts have dtype %s, expected F32, BF16 or F16",
		                   checkpoint_dtype_name(found->dtype));
	}
}

/* Of the main tower: a shard alone has fewer layers than the model. */
static ufm_status check_layers(const expert_set *found, const model_config *m)
{
	if (*m->shape_obstacle || !m->routed_layers)
		return UFM_OK;
	for (uint32_t i = 0; i < found->layers; i++) {
		if (!model_config_is_routed(m, found->numbers[i]))
			return status_fail(
				UFM_EFORMAT,
				"config.json says that layer %u is dense, the weights hold experts of "
				"it",
				found->numbers[i]);
	}
	if (found->layers == m->routed_layers)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "config.json says %u routed layers, the weights hold %u",
	                   m->routed_layers, found->layers);
}

static ufm_status check_top_k(const model_config *m)
{
	if (m->top_k && !*m->top_k_obstacle)
		return UFM_OK;
	return status_fail(
		UFM_EFORMAT,
		"top k is not known, expected num_experts_per_tok in a config.json beside the "
		"weights (of a GGUF file expert_used_count in it), or the shape by its numbers");
}

static void note_left_aside(const towers *t, plan_shape *s)
{
	for (uint32_t i = 1; i < t->count; i++) {
		char name[100];
		shape_note(s, "Left aside: %u routed layer%s under %s (--prefix).", t->items[i].layers,
		           t->items[i].layers > 1 ? "s" : "", tower_text(&t->items[i], name, sizeof name));
	}
}

/* Quantised experts are of no standard layout: they count as they lie in a bank. */
static ufm_status set_quantised(const expert_set *found, plan_shape *s)
{
	ufm_status status = experts_desc(found, UFM_BF16, &s->bank.desc);
	if (status)
		return status;
	s->bank.bank_bytes = (uint64_t)found->layers * found->experts * s->bank.desc.expert_bytes;
	shape_note(s, "Its experts count as they are published, quantised (%s).", found->quantised);
	return UFM_OK;
}

static ufm_status from_found(const expert_set *found, const model_config *m, plan_shape *out)
{
	plan_shape s, noted = {.notes = ""};
	shape_given given = {.layers = found->layers,
	                     .experts = found->experts,
	                     .top_k = m->top_k,
	                     .d_model = found->d_model,
	                     .d_hidden = found->d_hidden,
	                     .kind = found->kind};
	ufm_status status = dtype_of(found, &noted, &given.dtype);
	if (!status)
		status = check_top_k(m);
	if (!status)
		status = shape_of_given(&given, &s);
	if (status)
		return status;
	shape_note(&s, "%s", noted.notes);
	status = found->quantised ? set_quantised(found, &s) : UFM_OK;
	if (status)
		return status;
	if (*m->expert_obstacle)
		shape_note(&s, "Nothing here can run them yet: %.150s.", m->expert_obstacle);
	*out = s;
	return UFM_OK;
}

static ufm_status from_tower(const checkpoint *c, const towers *t, bool is_main, plan_shape *out)
{
	expert_set found;
	ufm_status status = experts_find(c, t, 0, 0, &found);
	if (status)
		return status;
	status = experts_check_model(&found, &t->model);
	if (!status && is_main)
		status = check_layers(&found, &t->model);
	if (!status)
		status = from_found(&found, &t->model, out);
	if (!status)
		note_left_aside(t, out);
	experts_free(&found);
	return status;
}

/* ---- GGUF */

/* The kind whose experts take the most: what all layers are counted as. */
static const gguf_layer_kind *largest(const gguf_set *set)
{
	const gguf_layer_kind *most = &set->kinds[0];
	for (uint32_t i = 1; i < set->kind_count; i++)
		if (set->kinds[i].desc.expert_bytes > most->desc.expert_bytes)
			most = &set->kinds[i];
	return most;
}

static void note_kinds(const gguf_set *set, const gguf_layer_kind *most, plan_shape *s)
{
	char types[BANK_TYPES_BYTES];
	if (set->kind_count > 1)
		shape_note(s, "Its layers are of %u kinds; all count as the largest, whose experts are %s.",
		           set->kind_count, bank_types_text(&most->desc, types, sizeof types));
}

/* All kinds must have as many experts: a plan has one number of them. */
static ufm_status from_kinds(const gguf_set *set, const model_config *m, plan_shape *out)
{
	const gguf_layer_kind *most = largest(set);
	plan_shape s = {.name = "the given shape",
	                .top_k = m->top_k,
	                .bank = {.layers = set->count, .experts = most->experts, .desc = most->desc}};
	ufm_status status = check_top_k(m);
	for (uint32_t i = 0; !status && i < set->kind_count; i++)
		if (set->kinds[i].experts != most->experts)
			status =
				status_fail(UFM_EFORMAT, "its layers have %u and %u experts, expected one number",
			                set->kinds[i].experts, most->experts);
	/* An unknown architecture has no activation, which a plan does not need. */
	if (!s.bank.desc.activation)
		s.bank.desc.activation = UFM_ACT_SILU;
	if (!status)
		status = bank_check_desc(&s.bank.desc);
	if (!status)
		status = shape_check(&s);
	if (status)
		return status;
	s.bank.bank_bytes = (uint64_t)set->count * most->experts * most->desc.expert_bytes;
	note_kinds(set, most, &s);
	if (*m->expert_obstacle)
		shape_note(&s, "Nothing here can run them yet: %.150s.", m->expert_obstacle);
	*out = s;
	return UFM_OK;
}

static ufm_status from_gguf(const checkpoint *c, const towers *t, plan_shape *out)
{
	gguf_set set;
	ufm_status status = gguf_experts_find(c, t, 0, 0, 0, &set);
	if (status)
		return status;
	status = gguf_experts_check_model(&set, &t->model);
	if (!status)
		status = from_kinds(&set, &t->model, out);
	if (!status)
		note_left_aside(t, out);
	gguf_experts_free(&set);
	return status;
}

static ufm_status from_checkpoint(const checkpoint *c, const char *prefix, plan_shape *out)
{
	towers t;
	ufm_status status = towers_find(c, prefix, &t);
	if (status)
		return status;
	status = checkpoint_values(c) ? from_gguf(c, &t, out) : from_tower(c, &t, !prefix, out);
	towers_free(&t);
	if (!status)
		return UFM_OK;
	return status_prefix(status == UFM_ENOMEM ? UFM_ENOMEM : UFM_EFORMAT, "%s", checkpoint_path(c));
}

ufm_status shape_of_weights(const char *path, const char *prefix, plan_shape *out)
{
	checkpoint *c;
	ufm_status status;
	if (!bank_is_checkpoint(path))
		return status_fail(
			UFM_EFORMAT,
			"%s: top k is not known of a packed bank, expected the shape by its numbers", path);
	status = checkpoint_open(path, &c);
	if (status)
		return status;
	status = from_checkpoint(c, prefix, out);
	checkpoint_close(c);
	return status;
}
