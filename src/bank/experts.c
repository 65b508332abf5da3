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
	if (!order)
		order = compare(part_order(a->role), part_order(b->role));
	return order ? order : compare(a->component, b->component);
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

static void add_item(expert_tensors *all, const expert_tensor *item)
{
	if (item->name.component < EXPERT_ASIDE)
		all->items[all->count++] = *item;
	else if (!all->aside[item->name.component - EXPERT_ASIDE].tensor)
		all->aside[item->name.component - EXPERT_ASIDE] = *item;
}

/* There is no expert: because of what stands aside alone, or there is no layer. */
static ufm_status fail_empty(const expert_tensors *all, const towers *t, uint32_t begin,
                             uint32_t end)
{
	for (size_t i = 0; i < sizeof all->aside / sizeof all->aside[0]; i++) {
		if (all->aside[i].tensor)
			return expert_name_fail(all->aside[i].tensor->name, &all->aside[i].name);
	}
	return fail_none(t, begin, end);
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
		add_item(out, &item);
	}
	if (out->count == 0)
		return fail_empty(out, t, begin, end);
	qsort(out->items, out->count, sizeof *out->items, compare_items);
	return UFM_OK;
}

/* What the k-th tensor of a layer must be. */
static expert_name expected_item(const expert_set *e, uint32_t k)
{
	expert_name name = e->form->slots[k % e->form->slot_count].name;

	name.expert = e->fused ? 0 : k / e->form->slot_count;
	return name;
}

/* "gate matrix"; "gate matrix (weight_scale)" where a matrix is more than one tensor. */
static const char *item_text(const expert_name *name, char *text, size_t size)
{
	if (name->component <= EXPERT_BIAS)
		snprintf(text, size, "%s", role_names[name->role]);
	else
		snprintf(text, size, "%s (%s)", role_names[name->role],
		         expert_component_name(name->component));
	return text;
}

static ufm_status fail_missing(uint32_t number, const expert_name *expected)
{
	char text[80];

	item_text(expected, text, sizeof text);
	if (expected->fused)
		return status_fail(UFM_EFORMAT, "layer %u: the fused %s of its experts is missing", number,
		                   text);
	return status_fail(UFM_EFORMAT, "layer %u expert %u: its %s is missing", number,
	                   expected->expert, text);
}

static bool is_plain(const expert_name *name)
{
	return name->component == EXPERT_WEIGHT || (name->component == EXPERT_BIAS && !name->fused);
}

/* Says what a layer whose tensors are not the expected ones has wrong: something twice, something that
 * others lack, or a hole. `item` is NULL when the layer ends. */
static ufm_status fail_item(const expert_set *e, uint32_t number, const expert_tensor *item,
                            const expert_tensor *before, const expert_name *expected)
{
	char text[80];

	if (item && !e->quantised && !is_plain(&item->name))
		return expert_name_fail(item->tensor->name, &item->name);
	if (item && before && compare_places(&item->name, &before->name) == 0)
		return status_fail(UFM_EFORMAT,
		                   "tensors \"%.150s\" and \"%.150s\" are both the %s of layer %u",
		                   before->tensor->name, item->tensor->name,
		                   item_text(&item->name, text, sizeof text), number);
	if (item && item->name.fused != expected->fused)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": fused and single experts in one checkpoint",
		                   item->tensor->name);
	if (item && compare_places(&item->name, expected) < 0)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": the first expert has no such part%s",
		                   item->tensor->name, e->quantised ? ", all must be quantised alike" : "");
	return fail_missing(number, expected);
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
			return fail_item(e, first->name.layer_number, item,
			                 i > from ? &all->items[i - 1] : NULL, &expected);
		if (item->name.prefix_bytes != first->name.prefix_bytes ||
		    memcmp(item->tensor->name, first->tensor->name, first->name.prefix_bytes) != 0)
			return status_fail(UFM_EFORMAT,
			                   "tensors \"%.150s\" and \"%.150s\" are both of layer %u",
			                   first->tensor->name, item->tensor->name, first->name.layer_number);
		if (i - from >= e->layer_tensors)
			return status_fail(UFM_EFORMAT, "tensor \"%.200s\": other layers have %u experts",
			                   item->tensor->name, e->experts);
		status = experts_check_tensor(e, (i - from) % e->form->slot_count, item);
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
	e->layer_tensors = (e->fused ? 1 : e->experts) * e->form->slot_count;
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
		status = experts_describe(c, t, &all, &e);
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
	alloc_free(e->form);
	alloc_free(e->numbers);
	alloc_free(e->tensors);
	*e = (expert_set){0};
}

void experts_extent(const expert_set *e, uint32_t layer, uint32_t expert, uint32_t part,
                    bank_extent *out)
{
	const checkpoint_tensor *const *of_layer = e->tensors + (size_t)layer * e->layer_tensors;
	const expert_part *from = &e->form->parts[part];
	const checkpoint_tensor *t;

	assert(layer < e->layers && expert < e->experts && part < e->form->part_count);
	t = of_layer[e->fused ? from->slot : expert * e->form->slot_count + from->slot];
	*out = from->lies;
	out->file = t->file;
	out->file_offset_bytes =
		t->file_offset_bytes + expert * from->stride_bytes + from->offset_bytes;
}
