/* SPDX-License-Identifier: MIT */
/* What a layer of a GGUF file has: its parts, their types, and the description that follows. */
#include <string.h>

#include "bank/bank_int.h"
#include "bank/gguf_layers_int.h"
#include "base/status.h"
#include "format/format.h"

static const char *const role_names[] = {
	[UFM_ROLE_UP] = "up matrix",     [UFM_ROLE_UP_BIAS] = "up bias",
	[UFM_ROLE_GATE] = "gate matrix", [UFM_ROLE_GATE_BIAS] = "gate bias",
	[UFM_ROLE_DOWN] = "down matrix", [UFM_ROLE_DOWN_BIAS] = "down bias",
};

static bool is_bias(ufm_role role)
{
	return role == UFM_ROLE_UP_BIAS || role == UFM_ROLE_GATE_BIAS || role == UFM_ROLE_DOWN_BIAS;
}

static bool is_down(ufm_role role)
{
	return role == UFM_ROLE_DOWN || role == UFM_ROLE_DOWN_BIAS;
}

/* ---- slots */

static ufm_status fail_twice(const gguf_slot *slot, const expert_tensor *item, ufm_role role)
{
	return status_fail(UFM_EFORMAT, "tensors \"%.150s\" and \"%.150s\" are both the %s of layer %u",
	                   slot->tensors[0]->name, item->tensor->name, role_names[role],
	                   item->name.layer_number);
}

/* Items come by role, then by expert: those of one role follow each other, and their tensors, too. */
static ufm_status fill_slot(gguf_slot *slot, const expert_tensor *item,
                            const checkpoint_tensor *const *tensor, ufm_role role, bool second)
{
	bool single = !item->name.fused;

	if (slot->count && (!single || !slot->single))
		return fail_twice(slot, item, role);
	if (single && item->name.expert != slot->count)
		return status_fail(UFM_EFORMAT, "layer %u expert %u: its %s is missing",
		                   item->name.layer_number, slot->count, role_names[role]);
	if (!slot->count)
		*slot = (gguf_slot){.tensors = tensor, .single = single, .second = second};
	slot->halved = item->name.gate_up;
	slot->count++;
	return UFM_OK;
}

/* A gate_up tensor has gate rows, then up rows, of each expert. */
static ufm_status fill_slots(gguf_slots *slots, const expert_tensor *item,
                             const checkpoint_tensor *const *tensor)
{
	ufm_role role = item->name.role;
	ufm_role up = role == UFM_ROLE_GATE ? UFM_ROLE_UP : UFM_ROLE_UP_BIAS;
	ufm_status status = fill_slot(&slots->of[role], item, tensor, role, false);

	if (!status && item->name.gate_up)
		status = fill_slot(&slots->of[up], item, tensor, up, true);
	return status;
}

static ufm_status fail_missing(const gguf_slots *slots, ufm_role role)
{
	return status_fail(UFM_EFORMAT, "layer %u: the %s of its experts is missing", slots->number,
	                   role_names[role]);
}

static ufm_status check_roles(const gguf_slots *slots, ufm_expert_kind kind)
{
	static const ufm_role of_bias[] = {UFM_ROLE_UP, UFM_ROLE_GATE, UFM_ROLE_DOWN};

	if (!slots->of[UFM_ROLE_UP].count)
		return fail_missing(slots, UFM_ROLE_UP);
	if (!slots->of[UFM_ROLE_DOWN].count)
		return fail_missing(slots, UFM_ROLE_DOWN);
	if (kind == UFM_EXPERT_GATED && !slots->of[UFM_ROLE_GATE].count)
		return fail_missing(slots, UFM_ROLE_GATE);
	if (kind == UFM_EXPERT_MLP && slots->of[UFM_ROLE_GATE].count)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": its architecture's experts have no gate",
		                   slots->of[UFM_ROLE_GATE].tensors[0]->name);
	for (size_t i = 0; i < sizeof of_bias / sizeof of_bias[0]; i++) {
		if (!slots->of[of_bias[i]].count && slots->of[of_bias[i] + 1].count)
			return fail_missing(slots, of_bias[i]);
	}
	return UFM_OK;
}

/* ---- shapes */

static ufm_status check_dimension(const checkpoint_tensor *t, uint64_t size, uint32_t max)
{
	if (size >= 1 && size <= max)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": a dimension is %llu, expected 1 … %u",
	                   t->name, (unsigned long long)size, max);
}

/* The down matrix says what all others must fit. */
static ufm_status find_geometry(const gguf_slots *slots, gguf_geometry *g)
{
	const gguf_slot *down = &slots->of[UFM_ROLE_DOWN];
	const checkpoint_tensor *t = down->tensors[0];
	uint32_t rank = down->single ? 2 : 3;
	uint64_t experts;
	ufm_status status;

	if (t->rank != rank)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": has %u dimensions, expected %u",
		                   t->name, t->rank, rank);
	experts = down->single ? down->count : t->shape[0];
	status = check_dimension(t, experts, BANK_EXPERTS_MAX);
	if (!status)
		status = check_dimension(t, t->shape[rank - 2], BANK_DIMENSION_MAX);
	if (!status)
		status = check_dimension(t, t->shape[rank - 1], BANK_DIMENSION_MAX);
	if (status)
		return status;
	*g = (gguf_geometry){.experts = (uint32_t)experts,
	                     .d_model = (uint32_t)t->shape[rank - 2],
	                     .d_hidden = (uint32_t)t->shape[rank - 1]};
	return UFM_OK;
}

static ufm_status check_tensor(const gguf_slot *slot, const gguf_geometry *g, ufm_role role,
                               const checkpoint_tensor *t)
{
	char found[96], expected[96];
	uint64_t shape[3], rows = is_down(role) ? g->d_model : g->d_hidden;
	uint32_t rank = 0;

	if (!slot->single)
		shape[rank++] = g->experts;
	shape[rank++] = rows << slot->halved;
	if (!is_bias(role))
		shape[rank++] = is_down(role) ? g->d_hidden : g->d_model;
	if (t->rank == rank && memcmp(t->shape, shape, rank * sizeof *shape) == 0)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", t->name,
	                   checkpoint_shape_text(t->rank, t->shape, found, sizeof found),
	                   checkpoint_shape_text(rank, shape, expected, sizeof expected));
}

/* All of one role have one type. */
static ufm_status check_slot(const gguf_slots *slots, const gguf_geometry *g, ufm_role role)
{
	const gguf_slot *slot = &slots->of[role];
	ufm_status status = UFM_OK;

	if (slot->single && slot->count != g->experts)
		return status_fail(UFM_EFORMAT, "layer %u: %u experts have a %s, %u a down matrix",
		                   slots->number, slot->count, role_names[role], g->experts);
	for (uint32_t i = 0; !status && i < slot->count; i++) {
		const checkpoint_tensor *t = slot->tensors[i];
		status = check_tensor(slot, g, role, t);
		if (!status && t->dtype != slot->tensors[0]->dtype)
			status = status_fail(UFM_EFORMAT, "tensor \"%.200s\": its type is %s, of \"%.150s\" %s",
			                     t->name, checkpoint_dtype_name(t->dtype), slot->tensors[0]->name,
			                     checkpoint_dtype_name(slot->tensors[0]->dtype));
	}
	return status;
}

/* ---- descriptions */

#define EXPECTED "F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS or MXFP4"

/* What a matrix's elements become in the block. */
static ufm_status take_type(const checkpoint_tensor *t, ufm_dtype f16_as, ufm_part *part)
{
	part->format = gguf_type_of(t->dtype)->format;
	if (part->format)
		return UFM_OK;
	part->dtype = checkpoint_plain_dtype(t->dtype);
	if (part->dtype == UFM_F16 && f16_as)
		part->dtype = f16_as;
	if (part->dtype)
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "tensor \"%.200s\": experts of type %s are not understood, "
	                   "expected " EXPECTED,
	                   t->name, checkpoint_dtype_name(t->dtype));
}

static ufm_status take_bias_type(const checkpoint_tensor *t, ufm_part *part)
{
	part->dtype = UFM_F32;
	if (t->dtype == CHECKPOINT_F32)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": a bias of type %s, expected F32", t->name,
	                   checkpoint_dtype_name(t->dtype));
}

static ufm_status add_part(const gguf_slots *slots, const gguf_geometry *g, ufm_role role,
                           ufm_dtype f16_as, ufm_expert_desc *desc)
{
	const gguf_slot *slot = &slots->of[role];
	ufm_part part = {.role = role};
	ufm_status status = check_slot(slots, g, role);

	if (!status)
		status = is_bias(role) ? take_bias_type(slot->tensors[0], &part)
		                       : take_type(slot->tensors[0], f16_as, &part);
	if (status)
		return status;
	part.rows = is_down(role) ? g->d_model : g->d_hidden;
	part.cols = is_bias(role) ? 1 : is_down(role) ? g->d_hidden : g->d_model;
	part.offset_bytes = bank_round_up(desc->expert_bytes, BANK_PART_ALIGN);
	desc->expert_bytes = part.offset_bytes + format_part_bytes(&part);
	desc->parts[desc->part_count++] = part;
	return UFM_OK;
}

static gguf_part place_part(const gguf_slot *slot, const ufm_part *part)
{
	return (gguf_part){.tensors = slot->tensors,
	                   .single = slot->single,
	                   .rows = part->rows << slot->halved,
	                   .begin_row = slot->second ? part->rows : 0};
}

/* Parts in the order of the standard layouts. */
static ufm_status add_parts(const gguf_slots *slots, const gguf_geometry *g, ufm_dtype f16_as,
                            gguf_layer *layer, ufm_expert_desc *desc)
{
	static const ufm_role order[GGUF_PARTS_MAX] = {UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS,
	                                               UFM_ROLE_UP,   UFM_ROLE_UP_BIAS,
	                                               UFM_ROLE_DOWN, UFM_ROLE_DOWN_BIAS};

	for (size_t i = 0; i < GGUF_PARTS_MAX; i++) {
		const gguf_slot *slot = &slots->of[order[i]];
		uint32_t at = desc->part_count;
		ufm_status status = slot->count ? add_part(slots, g, order[i], f16_as, desc) : UFM_OK;

		if (status)
			return status;
		if (slot->count)
			layer->parts[at] = place_part(slot, &desc->parts[at]);
	}
	return UFM_OK;
}

static ufm_expert_desc empty_desc(const gguf_geometry *g, const gguf_arithmetic *arithmetic)
{
	return (ufm_expert_desc){.struct_size = sizeof(ufm_expert_desc),
	                         .d_model = g->d_model,
	                         .d_hidden = g->d_hidden,
	                         .activation = arithmetic->activation,
	                         .act_alpha = arithmetic->act_alpha,
	                         .gate_limit = arithmetic->gate_limit,
	                         .up_limit = arithmetic->up_limit,
	                         .up_offset = arithmetic->up_offset};
}

ufm_status gguf_layer_describe(const expert_tensor *items, uint32_t count,
                               const checkpoint_tensor *const *tensors,
                               const gguf_arithmetic *arithmetic, ufm_dtype f16_as,
                               gguf_layer *layer, gguf_layer_kind *kind)
{
	gguf_slots slots = {.number = items[0].name.layer_number};
	gguf_geometry g;
	ufm_status status = UFM_OK;

	for (uint32_t i = 0; !status && i < count; i++)
		status = fill_slots(&slots, &items[i], &tensors[i]);
	if (!status)
		status = check_roles(&slots, arithmetic->kind);
	if (!status)
		status = find_geometry(&slots, &g);
	if (status)
		return status;
	*layer = (gguf_layer){.number = slots.number};
	*kind = (gguf_layer_kind){.experts = g.experts, .desc = empty_desc(&g, arithmetic)};
	status = add_parts(&slots, &g, f16_as, layer, &kind->desc);
	kind->desc.block_bytes = bank_round_up(kind->desc.expert_bytes, BANK_BLOCK_ALIGN);
	return status;
}
