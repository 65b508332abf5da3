/* SPDX-License-Identifier: MIT */
/* Brings the tensors of routed experts into one table, and refuses what is not whole. */
#include "bank/experts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank_int.h"
#include "bank/experts_int.h"
#include "bank/towers.h"
#include "base/alloc.h"
#include "base/status.h"

static const char *const role_names[] = {
	[UFM_ROLE_UP] = "up matrix",     [UFM_ROLE_UP_BIAS] = "up bias",
	[UFM_ROLE_GATE] = "gate matrix", [UFM_ROLE_GATE_BIAS] = "gate bias",
	[UFM_ROLE_DOWN] = "down matrix", [UFM_ROLE_DOWN_BIAS] = "down bias",
};

/* The order of the standard layouts, for any set of roles. */
static uint32_t part_order(ufm_role role)
{
	switch (role) {
	case UFM_ROLE_GATE:
		return 0;
	case UFM_ROLE_GATE_BIAS:
		return 1;
	case UFM_ROLE_UP:
		return 2;
	case UFM_ROLE_UP_BIAS:
		return 3;
	case UFM_ROLE_DOWN:
		return 4;
	case UFM_ROLE_DOWN_BIAS:
		return 5;
	default:
		return 6;
	}
}

static int compare(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

/* The order of tensors within a layer; 0 only for the same part of the same expert. */
static int compare_places(const expert_name *a, const expert_name *b)
{
	int order = compare(a->fused, b->fused);

	if (!order)
		order = compare(a->expert, b->expert);
	return order ? order : compare(part_order(a->role), part_order(b->role));
}

static int compare_items(const void *a, const void *b)
{
	const expert_tensor *x = a, *y = b;
	int order = compare(x->name.layer_number, y->name.layer_number);

	if (!order)
		order = compare_places(&x->name, &y->name);
	return order ? order : strcmp(x->tensor->name, y->tensor->name);
}

static bool is_in(uint32_t number, uint32_t begin, uint32_t end)
{
	return (begin == 0 && end == 0) || (number >= begin && number < end);
}

/* A tower that is left aside and has such a layer, or NULL. */
static const tower *find_beside(const towers *t, uint32_t begin, uint32_t end)
{
	for (uint32_t i = 1; i < t->count; i++) {
		for (uint32_t k = 0; k < t->items[i].layers; k++) {
			if (is_in(t->items[i].numbers[k], begin, end))
				return &t->items[i];
		}
	}
	return NULL;
}

/* "3, 5, 8", cut with "…". */
static void list_layers(const tower *t, char *text, size_t size)
{
	size_t used = 0;

	for (uint32_t i = 0; i < t->layers; i++) {
		if (used + 16 > size) {
			snprintf(text + used, size - used, ", …");
			return;
		}
		used += (size_t)snprintf(text + used, size - used, "%s%u", used ? ", " : "", t->numbers[i]);
	}
}

static ufm_status fail_none(const towers *t, uint32_t begin, uint32_t end)
{
	const tower *beside = find_beside(t, begin, end);
	char there[96] = "none", last[32] = "", taken[100] = "", other[100] = "";

	if (t->count == 0)
		return status_fail(UFM_EFORMAT, "holds no routed experts (tensors ….experts.…)");
	list_layers(&t->items[0], there, sizeof there);
	if (end > begin + 1)
		snprintf(last, sizeof last, " … %u", end - 1);
	if (t->count > 1)
		tower_text(&t->items[0], taken, sizeof taken);
	if (beside)
		tower_text(beside, other, sizeof other);
	return status_fail(UFM_EFORMAT, "holds no routed layer %u%s%s%s, found %s%s%s%s", begin, last,
	                   *taken ? " under " : "", taken, there, beside ? "; there is one under " : "",
	                   other, beside ? ", which is left aside unless its prefix is given" : "");
}

/* A name that is not understood matters where it is one of the layers that are asked for. */
static ufm_status collect(const checkpoint *c, const towers *t, uint32_t begin, uint32_t end,
                          expert_tensors *out)
{
	uint32_t count = checkpoint_tensor_count(c);

	out->items = alloc_zeroed(count, sizeof *out->items);
	if (!out->items)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < count && t->count; i++) {
		expert_tensor item = {.tensor = checkpoint_tensor_at(c, i)};
		ufm_status status;

		if (!expert_name_find(item.tensor->name, &item.name) ||
		    !tower_has(&t->items[0], item.tensor->name, &item.name) ||
		    !is_in(item.name.layer_number, begin, end))
			continue;
		status = expert_name_read(item.tensor->name, &item.name);
		if (status)
			return status;
		out->items[out->count++] = item;
	}
	if (out->count == 0)
		return fail_none(t, begin, end);
	qsort(out->items, out->count, sizeof *out->items, compare_items);
	return UFM_OK;
}

/* What the k-th tensor of a layer must be. */
static expert_name expected_item(const expert_set *e, uint32_t k)
{
	expert_name name = {.fused = e->fused};

	if (e->fused) {
		name.role = k ? UFM_ROLE_DOWN : UFM_ROLE_GATE;
	} else {
		name.expert = k / e->part_count;
		name.role = e->roles[k % e->part_count];
	}
	return name;
}

/* Says what a layer whose tensors are not the expected ones has wrong: something twice, something that
 * others lack, or a hole. `item` is NULL when the layer ends. */
static ufm_status fail_item(uint32_t number, const expert_tensor *item, const expert_tensor *before,
                            const expert_name *expected)
{
	if (item && before && compare_places(&item->name, &before->name) == 0)
		return status_fail(
			UFM_EFORMAT, "tensors \"%.150s\" and \"%.150s\" are both the %s of layer %u",
			before->tensor->name, item->tensor->name, role_names[item->name.role], number);
	if (item && item->name.fused != expected->fused)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": fused and single experts in one checkpoint",
		                   item->tensor->name);
	if (item && compare_places(&item->name, expected) < 0)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": the first expert has no such part",
		                   item->tensor->name);
	if (expected->fused)
		return status_fail(UFM_EFORMAT, "layer %u: the fused %s of its experts is missing", number,
		                   role_names[expected->role]);
	return status_fail(UFM_EFORMAT, "layer %u expert %u: its %s is missing", number,
	                   expected->expert, role_names[expected->role]);
}

/* The items [from, to) of one layer must be its tensors, each once, under one prefix. */
static ufm_status check_layer(const expert_set *e, const expert_tensors *all, uint32_t from,
                              uint32_t to)
{
	const expert_tensor *first = &all->items[from];

	assert(all->items && from < to);
	for (uint32_t i = from; i < to || i - from < e->layer_tensors; i++) {
		const expert_tensor *item = i < to ? &all->items[i] : NULL;
		expert_name expected = expected_item(e, i - from);
		ufm_status status;

		if (!item || compare_places(&item->name, &expected) != 0)
			return fail_item(first->name.layer_number, item, i > from ? &all->items[i - 1] : NULL,
			                 &expected);
		if (item->name.prefix_bytes != first->name.prefix_bytes ||
		    memcmp(item->tensor->name, first->tensor->name, first->name.prefix_bytes) != 0)
			return status_fail(UFM_EFORMAT,
			                   "tensors \"%.150s\" and \"%.150s\" are both of layer %u",
			                   first->tensor->name, item->tensor->name, first->name.layer_number);
		if (i - from >= e->layer_tensors)
			return status_fail(UFM_EFORMAT, "tensor \"%.200s\": other layers have %u experts",
			                   item->tensor->name, e->experts);
		status = experts_check_tensor(e, item);
		if (status)
			return status;
	}
	return UFM_OK;
}

static uint32_t layer_end(const expert_tensors *all, uint32_t from)
{
	uint32_t number = all->items[from].name.layer_number;

	while (from < all->count && all->items[from].name.layer_number == number)
		from++;
	return from;
}

/* The first layer says how many experts there are; a hole below that number is found when it is
 * checked. */
static ufm_status count_experts(const expert_tensors *all, expert_set *e)
{
	const expert_tensor *last = &all->items[layer_end(all, 0) - 1];

	if (!e->fused)
		e->experts = last->name.expert + 1;
	if (e->experts > BANK_EXPERTS_MAX)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": expert %u, expected below %u",
		                   last->tensor->name, last->name.expert, BANK_EXPERTS_MAX);
	e->layer_tensors = e->fused ? 2 : e->experts * e->part_count;
	return UFM_OK;
}

static ufm_status check_layers(const expert_tensors *all, expert_set *e)
{
	ufm_status status = count_experts(all, e);
	uint32_t to;

	if (status)
		return status;
	for (uint32_t from = 0; from < all->count; from = to) {
		to = layer_end(all, from);
		status = check_layer(e, all, from, to);
		if (status)
			return status;
		e->layers++;
	}
	return UFM_OK;
}

static ufm_status keep(const expert_tensors *all, expert_set *e)
{
	assert(all->count == e->layers * e->layer_tensors);
	e->numbers = alloc_zeroed(e->layers, sizeof *e->numbers);
	e->tensors = alloc_zeroed(all->count, sizeof *e->tensors);
	if (!e->numbers || !e->tensors)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < all->count; i++)
		e->tensors[i] = all->items[i].tensor;
	for (uint32_t i = 0; i < e->layers; i++)
		e->numbers[i] = all->items[i * e->layer_tensors].name.layer_number;
	return UFM_OK;
}

ufm_status experts_find(const checkpoint *c, const towers *t, uint32_t begin, uint32_t end,
                        expert_set *out)
{
	expert_tensors all = {0};
	expert_set e = {0};
	ufm_status status = collect(c, t, begin, end, &all);

	if (!status)
		status = experts_describe(&all, &e);
	if (!status)
		status = check_layers(&all, &e);
	if (!status)
		status = keep(&all, &e);
	alloc_free(all.items);
	if (status) {
		experts_free(&e);
		return status;
	}
	*out = e;
	return UFM_OK;
}

void experts_free(expert_set *e)
{
	alloc_free(e->numbers);
	alloc_free(e->tensors);
	*e = (expert_set){0};
}

expert_place experts_place(const expert_set *e, uint32_t layer, uint32_t expert, uint32_t part)
{
	const checkpoint_tensor *const *of_layer = e->tensors + (size_t)layer * e->layer_tensors;
	uint64_t matrix_bytes =
		(uint64_t)e->d_model * e->d_hidden * checkpoint_dtype_bits(e->dtype) / 8;
	const checkpoint_tensor *t;
	uint64_t matrices;

	assert(layer < e->layers && expert < e->experts && part < e->part_count);
	if (!e->fused) {
		t = of_layer[expert * e->part_count + part];
		return (expert_place){t->file, t->file_offset_bytes};
	}
	/* Each expert's gate rows, then its up rows; its down matrix in the other tensor. */
	t = of_layer[e->roles[part] == UFM_ROLE_DOWN];
	matrices = e->roles[part] == UFM_ROLE_DOWN
	               ? expert
	               : UINT64_C(2) * expert + (e->roles[part] == UFM_ROLE_UP);
	return (expert_place){t->file, t->file_offset_bytes + matrices * matrix_bytes};
}
