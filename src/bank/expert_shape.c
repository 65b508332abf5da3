/* SPDX-License-Identifier: MIT */
/* What kind of expert a checkpoint has, and whether a tensor has the shape that follows from it. */
#include <stdlib.h>
#include <string.h>

#include "bank/bank_int.h"
#include "bank/experts_int.h"
#include "base/status.h"

static ufm_status fail_tensor(const checkpoint_tensor *t, const char *what)
{
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": %s", t->name, what);
}

static unsigned bit(ufm_role role)
{
	return 1u << role;
}

/* Bits of the roles that the first expert has. */
static unsigned first_roles(const expert_tensors *all)
{
	const expert_name *first = &all->items[0].name;
	unsigned seen = 0;

	for (uint32_t i = 0; i < all->count; i++) {
		const expert_name *name = &all->items[i].name;

		if (name->layer_number != first->layer_number || name->fused != first->fused ||
		    name->expert != first->expert)
			break;
		seen |= bit(name->role) | (name->gate_up ? bit(UFM_ROLE_UP) : 0);
	}
	return seen;
}

static ufm_status find_kind(const expert_tensors *all, expert_set *e)
{
	static const ufm_role order[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_UP_BIAS, UFM_ROLE_DOWN,
	                                 UFM_ROLE_DOWN_BIAS};
	const checkpoint_tensor *first = all->items[0].tensor;
	unsigned seen = first_roles(all), biases = bit(UFM_ROLE_UP_BIAS) | bit(UFM_ROLE_DOWN_BIAS);
	bool gated = seen & bit(UFM_ROLE_GATE);

	if (!(seen & bit(UFM_ROLE_UP)) || !(seen & bit(UFM_ROLE_DOWN)))
		return fail_tensor(first, "its expert lacks an up or a down matrix");
	if ((gated && seen & biases) || seen & bit(UFM_ROLE_GATE_BIAS))
		return fail_tensor(first, "its expert has a gate and biases, which is not understood");
	if (seen & biases && (seen & biases) != biases)
		return fail_tensor(first, "its expert has a bias for one of its matrices only");
	e->fused = all->items[0].name.fused;
	e->kind = gated ? UFM_EXPERT_GATED : seen & biases ? UFM_EXPERT_MLP_BIAS : UFM_EXPERT_MLP;
	for (uint32_t i = 0; i < sizeof order / sizeof order[0]; i++) {
		if (seen & bit(order[i]))
			e->roles[e->part_count++] = order[i];
	}
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

static ufm_status check_dimension(const checkpoint_tensor *t, uint64_t size, uint32_t max)
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
	status = check_dimension(down, down->shape[rank - 2], BANK_DIMENSION_MAX);
	if (!status)
		status = check_dimension(down, down->shape[rank - 1], BANK_DIMENSION_MAX);
	if (!status && e->fused)
		status = check_dimension(down, down->shape[0], BANK_EXPERTS_MAX);
	if (status)
		return status;
	e->d_model = (uint32_t)down->shape[rank - 2];
	e->d_hidden = (uint32_t)down->shape[rank - 1];
	e->dtype = down->dtype;
	if (e->fused)
		e->experts = (uint32_t)down->shape[0];
	return UFM_OK;
}

ufm_status experts_describe(const expert_tensors *all, expert_set *e)
{
	ufm_status status = find_kind(all, e);

	return status ? status : find_geometry(all, e);
}

static uint32_t expected_shape(const expert_set *e, const expert_name *name, uint64_t shape[3])
{
	bool down = name->role == UFM_ROLE_DOWN || name->role == UFM_ROLE_DOWN_BIAS;
	bool bias = name->role == UFM_ROLE_UP_BIAS || name->role == UFM_ROLE_DOWN_BIAS;
	uint32_t rank = 0;

	if (name->fused)
		shape[rank++] = e->experts;
	shape[rank++] = (down ? e->d_model : e->d_hidden) * (name->gate_up ? UINT64_C(2) : 1);
	if (!bias)
		shape[rank++] = down ? e->d_hidden : e->d_model;
	return rank;
}

/* [experts, d_model, 2 d_hidden] beside a down of [experts, d_hidden, d_model], which was read as
 * [experts, d_model, d_hidden]. No shape can be both this and the right one. */
static bool is_transposed(const expert_set *e, const expert_tensor *item)
{
	const uint64_t *shape = item->tensor->shape;

	return item->name.gate_up && item->tensor->rank == 3 && shape[1] == e->d_hidden &&
	       shape[2] == UINT64_C(2) * e->d_model;
}

static ufm_status fail_shape(const checkpoint_tensor *t, uint32_t rank, const uint64_t *shape)
{
	char found[96], expected[96];

	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", t->name,
	                   checkpoint_shape_text(t->rank, t->shape, found, sizeof found),
	                   checkpoint_shape_text(rank, shape, expected, sizeof expected));
}

ufm_status experts_check_tensor(const expert_set *e, const expert_tensor *item)
{
	const checkpoint_tensor *t = item->tensor;
	uint64_t shape[3];
	uint32_t rank = expected_shape(e, &item->name, shape);

	if (is_transposed(e, item))
		return fail_tensor(t, "fused matrices are transposed ([experts, d_model, 2 d_hidden]), "
		                      "which is not understood");
	if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape) != 0)
		return fail_shape(t, rank, shape);
	if (t->dtype != e->dtype)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": dtype is %s, of other experts %s",
		                   t->name, checkpoint_dtype_name(t->dtype),
		                   checkpoint_dtype_name(e->dtype));
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
