/* SPDX-License-Identifier: MIT */
/* What kind of expert a checkpoint has, and whether a tensor has the shape that follows from it. */
#include <stdlib.h>
#include <string.h>

#include "bank/bank_int.h"
#include "bank/experts_int.h"
#include "bank/quantised.h"
#include "base/alloc.h"
#include "base/status.h"
#include "format/format.h"

static ufm_status fail_tensor(const checkpoint_tensor *t, const char *what)
{
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": %s", t->name, what);
}

static unsigned bit(ufm_role role)
{
	return 1u << role;
}

uint32_t experts_first_count(const expert_tensors *all)
{
	const expert_name *first = &all->items[0].name;
	uint32_t count = 0;

	for (; count < all->count; count++) {
		const expert_name *name = &all->items[count].name;

		if (name->layer_number != first->layer_number || name->fused != first->fused ||
		    name->expert != first->expert)
			break;
	}
	return count;
}

/* Bits of the roles that the first expert has. */
static unsigned first_roles(const expert_tensors *all)
{
	unsigned seen = 0;

	for (uint32_t i = 0; i < experts_first_count(all); i++) {
		const expert_name *name = &all->items[i].name;

		seen |= bit(name->role) | (name->gate_up ? bit(UFM_ROLE_UP) : 0);
	}
	return seen;
}

/* ---- plain elements */

static bool is_bias(ufm_role role)
{
	return role == UFM_ROLE_UP_BIAS || role == UFM_ROLE_DOWN_BIAS;
}

static ufm_status find_kind(const expert_tensors *all, expert_set *e)
{
	const checkpoint_tensor *first = all->items[0].tensor;
	unsigned seen = first_roles(all), biases = bit(UFM_ROLE_UP_BIAS) | bit(UFM_ROLE_DOWN_BIAS);
	bool gated = seen & bit(UFM_ROLE_GATE);

	if (!(seen & bit(UFM_ROLE_UP)) || !(seen & bit(UFM_ROLE_DOWN)))
		return fail_tensor(first, "its expert lacks an up or a down matrix");
	if ((gated && seen & biases) || seen & bit(UFM_ROLE_GATE_BIAS))
		return fail_tensor(first, "its expert has a gate and biases, which is not understood");
	if (seen & biases && (seen & biases) != biases)
		return fail_tensor(first, "its expert has a bias for one of its matrices only");
	e->kind = gated ? UFM_EXPERT_GATED : seen & biases ? UFM_EXPERT_MLP_BIAS : UFM_EXPERT_MLP;
	return UFM_OK;
}

static const checkpoint_tensor *first_down(const expert_tensors *all)
{
	for (uint32_t i = 0; i < all->count; i++) {
		if (all->items[i].name.role == UFM_ROLE_DOWN)
			return all->items[i].tensor;
	}
	/* find_kind has seen one. */
	abort();
}

ufm_status experts_check_dimension(const checkpoint_tensor *t, uint64_t size, uint32_t max)
{
	if (size >= 1 && size <= max)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": a dimension is %llu, expected 1 … %u",
	                   t->name, (unsigned long long)size, max);
}

/* A down matrix is [d_model, d_hidden], before which the experts stand when it is fused. */
static ufm_status find_geometry(const expert_tensors *all, expert_set *e)
{
	const checkpoint_tensor *down = first_down(all);
	uint32_t rank = e->fused ? 3 : 2;
	ufm_status status;

	if (down->rank != rank)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": has %u dimensions, expected %u",
		                   down->name, down->rank, rank);
	status = experts_check_dimension(down, down->shape[rank - 2], BANK_DIMENSION_MAX);
	if (!status)
		status = experts_check_dimension(down, down->shape[rank - 1], BANK_DIMENSION_MAX);
	if (!status && e->fused)
		status = experts_check_dimension(down, down->shape[0], BANK_EXPERTS_MAX);
	if (status)
		return status;
	e->d_model = (uint32_t)down->shape[rank - 2];
	e->d_hidden = (uint32_t)down->shape[rank - 1];
	e->dtype = down->dtype;
	if (e->fused)
		e->experts = (uint32_t)down->shape[0];
	return UFM_OK;
}

static void set_shape(const expert_set *e, expert_slot *slot)
{
	ufm_role role = slot->name.role;
	bool down = role == UFM_ROLE_DOWN || role == UFM_ROLE_DOWN_BIAS;

	slot->dtype = e->dtype;
	if (e->fused)
		slot->shape[slot->rank++] = e->experts;
	slot->shape[slot->rank++] =
		(down ? e->d_model : e->d_hidden) * (slot->name.gate_up ? UINT64_C(2) : 1);
	if (!is_bias(role))
		slot->shape[slot->rank++] = down ? e->d_hidden : e->d_model;
}

/* The tensors of the first expert are those of all. */
static void set_slots(const expert_tensors *all, expert_set *e)
{
	expert_form *f = e->form;

	for (uint32_t i = 0; i < experts_first_count(all) && f->slot_count < EXPERT_SLOTS_MAX; i++) {
		const expert_tensor *item = &all->items[i];
		const expert_slot *before = f->slot_count ? &f->slots[f->slot_count - 1] : NULL;

		if (before && before->name.role == item->name.role)
			continue; /* two of one kind, which is told of where layers are checked */
		f->slots[f->slot_count] = (expert_slot){.name = item->name, .first = item->tensor};
		set_shape(e, &f->slots[f->slot_count++]);
	}
}

static void add_part(expert_set *e, ufm_role role, uint32_t slot, uint64_t stride_bytes,
                     uint64_t offset_bytes)
{
	e->form->parts[e->form->part_count++] =
		(expert_part){.like.role = role,
	                  .slot = slot,
	                  .stride_bytes = stride_bytes,
	                  .offset_bytes = offset_bytes,
	                  .lies = {.kind = EXTENT_FILE, .from = checkpoint_plain_dtype(e->dtype)}};
}

/* Fused: each expert's gate rows, then its up rows; its down matrix in the other tensor. */
static void set_parts(expert_set *e)
{
	uint64_t bytes = (uint64_t)e->d_model * e->d_hidden * checkpoint_dtype_bits(e->dtype) / 8;

	for (uint32_t i = 0; i < e->form->slot_count; i++) {
		const expert_name *name = &e->form->slots[i].name;

		add_part(e, name->role, i, !e->fused ? 0 : name->gate_up ? 2 * bytes : bytes, 0);
		if (name->gate_up)
			add_part(e, UFM_ROLE_UP, i, 2 * bytes, bytes);
	}
}

static ufm_status describe_plain(const expert_tensors *all, expert_set *e)
{
	ufm_status status = find_kind(all, e);

	if (!status)
		status = find_geometry(all, e);
	if (status)
		return status;
	set_slots(all, e);
	set_parts(e);
	return UFM_OK;
}

/* ---- either */

/* The first tensor of the first expert that experts of plain elements do not have, or NULL. */
static const expert_tensor *find_quantised(const expert_tensors *all)
{
	for (uint32_t i = 0; i < experts_first_count(all); i++) {
		if (all->items[i].name.component > EXPERT_BIAS)
			return &all->items[i];
	}
	return NULL;
}

/* Plain experts of which something says otherwise, or whose layout is not known. */
static ufm_status check_plain(const expert_tensors *all)
{
	for (size_t i = 0; i < sizeof all->aside / sizeof all->aside[0]; i++) {
		if (all->aside[i].tensor)
			return expert_name_fail(all->aside[i].tensor->name, &all->aside[i].name);
	}
	for (uint32_t i = 0; i < experts_first_count(all); i++) {
		const expert_tensor *item = &all->items[i];

		if (item->name.fused && item->name.component == EXPERT_BIAS)
			return expert_name_fail(item->tensor->name, &item->name);
	}
	return UFM_OK;
}

ufm_status experts_describe(const checkpoint *c, const struct towers *t, const expert_tensors *all,
                            expert_set *e)
{
	ufm_status status;

	e->form = alloc_zeroed(1, sizeof *e->form);
	if (!e->form)
		return UFM_ENOMEM;
	e->fused = all->items[0].name.fused;
	if (find_quantised(all))
		return quantised_describe(c, t, all, e);
	status = check_plain(all);
	return status ? status : describe_plain(all, e);
}

/* [experts, d_model, 2 d_hidden] beside a down of [experts, d_hidden, d_model], which was read as
 * [experts, d_model, d_hidden]. No shape can be both this and the right one. */
static bool is_transposed(const expert_set *e, const expert_tensor *item)
{
	const uint64_t *shape = item->tensor->shape;

	return item->name.gate_up && item->name.component == EXPERT_WEIGHT && item->tensor->rank == 3 &&
	       shape[1] == e->d_hidden && shape[2] == UINT64_C(2) * e->d_model;
}

ufm_status experts_fail_shape(const checkpoint_tensor *t, uint32_t rank, const uint64_t *shape)
{
	char found[96], expected[96];

	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", t->name,
	                   checkpoint_shape_text(t->rank, t->shape, found, sizeof found),
	                   checkpoint_shape_text(rank, shape, expected, sizeof expected));
}

ufm_status experts_check_tensor(const expert_set *e, uint32_t slot, const expert_tensor *item)
{
	const expert_slot *expected = &e->form->slots[slot];
	const checkpoint_tensor *t = item->tensor;

	if (is_transposed(e, item))
		return fail_tensor(t, "fused matrices are transposed ([experts, d_model, 2 d_hidden]), "
		                      "which is not understood");
	if (t->rank != expected->rank ||
	    memcmp(t->shape, expected->shape, t->rank * sizeof *t->shape) != 0)
		return experts_fail_shape(t, expected->rank, expected->shape);
	if (t->dtype != expected->dtype)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": dtype is %s, of other experts %s",
		                   t->name, checkpoint_dtype_name(t->dtype),
		                   checkpoint_dtype_name(expected->dtype));
	return UFM_OK;
}

/* ---- as a description */

static ufm_dtype part_dtype(const expert_set *e, ufm_role role, ufm_dtype f16_as)
{
	ufm_dtype dtype = checkpoint_plain_dtype(e->dtype);

	if (dtype != UFM_F16)
		return dtype;
	return f16_as == UFM_F16 && is_bias(role) ? UFM_F32 : f16_as;
}

ufm_status experts_desc(const expert_set *e, ufm_dtype f16_as, ufm_expert_desc *out)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc,
	                        .d_model = e->d_model,
	                        .d_hidden = e->d_hidden,
	                        .activation =
	                            e->kind == UFM_EXPERT_GATED ? UFM_ACT_SILU : UFM_ACT_GELU};

	if (!e->quantised && !checkpoint_plain_dtype(e->dtype))
		return status_fail(UFM_EFORMAT, "experts have dtype %s, expected F32, BF16 or F16",
		                   checkpoint_dtype_name(e->dtype));
	for (uint32_t i = 0; i < e->form->part_count; i++) {
		ufm_part like = e->form->parts[i].like;

		if (!e->quantised)
			like.dtype = part_dtype(e, like.role, f16_as);
		bank_append_part(&desc, &like);
	}
	*out = desc;
	return UFM_OK;
}

static ufm_status check_said(const char *what, uint32_t said, uint32_t found)
{
	if (!said || said == found)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "config.json: says %s %u, the weights have %u", what, said,
	                   found);
}

ufm_status experts_check_model(const expert_set *e, const model_config *m)
{
	ufm_status status = UFM_OK;

	if (m->experts && m->experts != e->experts)
		return status_fail(UFM_EFORMAT, "config.json: says %u experts a layer, the weights hold %u",
		                   m->experts, e->experts);
	/* Where keys are not understood, one of them may be what widths go by. */
	if (*m->shape_obstacle)
		return UFM_OK;
	status = check_said("d_model", m->d_model, e->d_model);
	return status ? status : check_said("d_hidden", m->d_hidden, e->d_hidden);
}
