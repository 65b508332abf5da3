/* SPDX-License-Identifier: MIT */
/* The table of quantised layouts, which of them a checkpoint has, and what describing them has in common. */
#include "bank/quantised_int.h"

#include <stdio.h>
#include <string.h>

#include "bank/bank_int.h"
#include "base/status.h"
#include "format/format.h"

static const quantised_layout *const layouts[] = {
	&quantised_mxfp4,
	&quantised_fp8,
	&quantised_fp8_blocks,
	&quantised_fp8_fused,
	&quantised_fp8_blocks_fused,
	&quantised_int4,
	&quantised_awq,
	&quantised_gptq,
	&quantised_nvfp4,
	&quantised_nvfp4_packed,
};
#define LAYOUT_COUNT (sizeof layouts / sizeof layouts[0])

/* ---- which it is */

static uint32_t first_components(const expert_tensors *all)
{
	uint32_t has = 0;

	for (uint32_t i = 0; i < experts_first_count(all); i++)
		has |= 1u << all->items[i].name.component;
	return has;
}

static const expert_tensor *first_quantised(const expert_tensors *all)
{
	const expert_tensor *item = all->items;

	while (item->name.component <= EXPERT_BIAS)
		item++;
	return item;
}

static bool has_its_tensors(const quantised_layout *l, bool fused, uint32_t has)
{
	return l->fused == fused && (has & l->has) == l->has && !(has & ~(l->has | l->may));
}

/* By the tensors it could be one of several, by config.json it is none of them. */
static ufm_status fail_method(const quantised *q, const expert_tensor *item)
{
	char expected[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < LAYOUT_COUNT; i++) {
		if (has_its_tensors(layouts[i], q->e->fused, q->has) && used < sizeof expected)
			used += (size_t)snprintf(expected + used, sizeof expected - used, "%s%s",
			                         used ? " " : "", layouts[i]->methods);
	}
	if (!q->config->said)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": quantised experts, expected a config.json beside "
		                   "them whose quantization_config has one of the methods %s",
		                   item->tensor->name, expected);
	return status_fail(
		UFM_EFORMAT,
		"config.json: quantization_config has quant_method \"%.40s\", expected one of "
		"%s, which have such a tensor as \"%.200s\"",
		q->config->method, expected, item->tensor->name);
}

static ufm_status find_layout(quantised *q, const expert_tensors *all)
{
	const expert_tensor *item = first_quantised(all);
	bool found = false;

	for (size_t i = 0; i < LAYOUT_COUNT; i++) {
		if (!has_its_tensors(layouts[i], q->e->fused, q->has))
			continue;
		found = true;
		if (!quantised_lists(layouts[i]->methods, q->config->method, strncmp))
			continue;
		q->layout = layouts[i];
		return UFM_OK;
	}
	return found ? fail_method(q, item) : expert_name_fail(item->tensor->name, &item->name);
}

static ufm_status check_aside(const quantised *q, const expert_tensors *all)
{
	for (uint32_t i = 0; i < EXPERT_COMPONENTS - EXPERT_ASIDE; i++) {
		const expert_tensor *item = &all->aside[i];

		if (item->tensor && !(q->layout->may >> (EXPERT_ASIDE + i) & 1))
			return status_fail(UFM_EFORMAT, "tensor \"%.200s\": experts quantised as %s have none",
			                   item->tensor->name, q->layout->name);
	}
	return UFM_OK;
}

/* ---- what it has */

static bool has_role(const expert_set *e, ufm_role role)
{
	for (uint32_t i = 0; i < e->form->slot_count; i++) {
		const expert_name *name = &e->form->slots[i].name;

		if (name->role == role || (name->gate_up && role == UFM_ROLE_UP))
			return true;
	}
	return false;
}

/* Every tensor of the first expert is a slot, and what it is all others must be. */
static ufm_status set_slots(const expert_tensors *all, expert_set *e)
{
	expert_form *f = e->form;

	for (uint32_t i = 0; i < experts_first_count(all); i++) {
		const expert_tensor *item = &all->items[i];
		const checkpoint_tensor *t = item->tensor;
		expert_slot *slot = &f->slots[f->slot_count];

		if (f->slot_count == EXPERT_SLOTS_MAX)
			return status_fail(UFM_EFORMAT,
			                   "tensor \"%.200s\": the first expert has more than %u tensors",
			                   t->name, EXPERT_SLOTS_MAX);
		*slot = (expert_slot){.name = item->name, .first = t, .dtype = t->dtype, .rank = t->rank};
		memcpy(slot->shape, t->shape, sizeof slot->shape);
		f->slot_count++;
	}
	return UFM_OK;
}

/* Whether the first expert has every component of every matrix, each once. */
static ufm_status check_whole(const quantised *q)
{
	static const ufm_role roles[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};
	const expert_set *e = q->e;
	uint32_t wanted = 0;

	if (!has_role(e, UFM_ROLE_UP) || !has_role(e, UFM_ROLE_DOWN))
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": its expert lacks an up or a down matrix",
		                   e->form->slots[0].first->name);
	for (uint32_t i = e->fused; i < sizeof roles / sizeof roles[0]; i++) {
		bool shared = e->fused && roles[i] == UFM_ROLE_UP;

		for (expert_component c = 0; c < EXPERT_ASIDE; c++) {
			if (!quantised_has(q, c) || !has_role(e, roles[i]))
				continue;
			wanted++;
			if (!quantised_find_slot(e, roles[i], shared, c))
				return status_fail(UFM_EFORMAT,
				                   "tensor \"%.200s\": its expert has no %s of every matrix",
				                   e->form->slots[0].first->name, expert_component_name(c));
		}
	}
	if (wanted != e->form->slot_count)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": its expert has one of its tensors twice",
		                   e->form->slots[0].first->name);
	return UFM_OK;
}

/* The values of down, [experts,] d_model by d_hidden. */
static ufm_status find_geometry(const quantised *q)
{
	const quantised_layout *l = q->layout;
	expert_set *e = q->e;
	const expert_slot *down = quantised_find_slot(e, UFM_ROLE_DOWN, false, l->values);
	uint32_t at = e->fused;
	ufm_status status;

	if (down->rank != at + l->rank)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": has %u dimensions, expected %u",
		                   down->first->name, down->rank, at + l->rank);
	status = experts_check_dimension(down->first, down->shape[at + l->rows_at],
	                                 BANK_DIMENSION_MAX / l->rows_times);
	if (!status)
		status = experts_check_dimension(down->first, down->shape[at + l->cols_at],
		                                 BANK_DIMENSION_MAX / l->cols_times);
	if (!status && e->fused)
		status = experts_check_dimension(down->first, down->shape[0], BANK_EXPERTS_MAX);
	if (status)
		return status;
	e->d_model = (uint32_t)down->shape[at + l->rows_at] * l->rows_times;
	e->d_hidden = (uint32_t)down->shape[at + l->cols_at] * l->cols_times;
	e->dtype = l->dtype;
	if (e->fused)
		e->experts = (uint32_t)down->shape[0];
	return UFM_OK;
}

static quantised_matrix matrix_of(const expert_set *e, ufm_role role)
{
	bool down = role == UFM_ROLE_DOWN;
	quantised_matrix m = {.role = role,
	                      .rows = down ? e->d_model : e->d_hidden,
	                      .cols = down ? e->d_hidden : e->d_model,
	                      .shared = e->fused && !down,
	                      .second = e->fused && role == UFM_ROLE_UP};

	m.file_rows = (uint64_t)m.rows * (m.shared ? 2 : 1);
	return m;
}

static ufm_status check_multiple(const expert_slot *slot, const char *what, uint64_t count,
                                 uint32_t times)
{
	if (count % times == 0)
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "tensor \"%.200s\": of a matrix of %llu %s, expected a multiple of %u",
	                   slot->first->name, (unsigned long long)count, what, times);
}

/* The values have the shape that follows from the matrix's, and their type. */
static ufm_status check_values(const quantised *q, const quantised_matrix *m)
{
	const quantised_layout *l = q->layout;
	const expert_slot *slot = quantised_slot(q, m, l->values);
	uint64_t shape[CHECKPOINT_RANK_MAX];
	uint32_t at = q->e->fused;
	ufm_status status;

	if (slot->dtype != l->dtype)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": dtype is %s, expected %s",
		                   slot->first->name, checkpoint_dtype_name(slot->dtype),
		                   checkpoint_dtype_name(l->dtype));
	status = check_multiple(slot, "rows", m->file_rows, l->rows_times);
	if (!status)
		status = check_multiple(slot, "columns", m->cols, l->cols_times);
	if (status)
		return status;
	memcpy(shape, slot->shape, sizeof shape);
	shape[0] = q->e->fused ? q->e->experts : shape[0];
	shape[at + l->rows_at] = m->file_rows / l->rows_times;
	shape[at + l->cols_at] = m->cols / l->cols_times;
	if (slot->rank != at + l->rank || memcmp(shape, slot->shape, slot->rank * sizeof *shape) != 0)
		return experts_fail_shape(slot->first, at + l->rank, shape);
	return UFM_OK;
}

static ufm_status describe_matrices(quantised *q)
{
	static const ufm_role roles[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};
	ufm_status status = UFM_OK;

	for (size_t i = 0; i < sizeof roles / sizeof roles[0] && !status; i++) {
		quantised_matrix m = matrix_of(q->e, roles[i]);

		if (!has_role(q->e, roles[i]))
			continue;
		status = check_values(q, &m);
		if (!status)
			status = q->layout->describe(q, &m);
	}
	return status;
}

static ufm_status describe(quantised *q, const expert_tensors *all)
{
	ufm_status status = find_layout(q, all);

	if (!status)
		status = check_aside(q, all);
	if (!status)
		status = q->layout->check(q);
	if (!status)
		status = quantised_check_exempt(q->config, all);
	if (!status)
		status = set_slots(all, q->e);
	if (!status)
		status = check_whole(q);
	if (!status)
		status = find_geometry(q);
	if (status)
		return status;
	q->e->kind = has_role(q->e, UFM_ROLE_GATE) ? UFM_EXPERT_GATED : UFM_EXPERT_MLP;
	q->e->quantised = q->layout->name;
	return describe_matrices(q);
}

ufm_status quantised_describe(const checkpoint *c, const towers *t, const expert_tensors *all,
                              expert_set *e)
{
	quantised_config config;
	ufm_status status = quantised_config_read(c, t, &config);
	quantised q = {.config = &config, .model = &t->model, .e = e, .has = first_components(all)};

	if (status)
		return status;
	status = describe(&q, all);
	quantised_config_free(&config);
	return status;
}
