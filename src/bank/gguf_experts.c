/* SPDX-License-Identifier: MIT */
/* Brings the expert tensors of GGUF files into layers, and layers that are alike into kinds. */
#include "bank/gguf_experts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/gguf_layers_int.h"
#include "base/alloc.h"
#include "base/status.h"

/* ---- tensors */

static int compare(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_items(const void *a, const void *b)
{
	const expert_tensor *x = a, *y = b;
	int order = compare(x->name.layer_number, y->name.layer_number);

	if (!order)
		order = compare(x->name.role, y->name.role);
	if (!order)
		order = compare(x->name.fused, y->name.fused);
	if (!order)
		order = compare(x->name.expert, y->name.expert);
	return order ? order : strcmp(x->tensor->name, y->tensor->name);
}

static bool is_in(uint32_t number, uint32_t begin, uint32_t end)
{
	return (begin == 0 && end == 0) || (number >= begin && number < end);
}

static ufm_status collect(const checkpoint *c, const tower *t, uint32_t begin, uint32_t end,
                          expert_tensors *out)
{
	uint32_t room = 0;

	for (uint32_t i = 0; i < checkpoint_tensor_count(c); i++) {
		expert_tensor item = {.tensor = checkpoint_tensor_at(c, i)}, *items;
		const char *name = item.tensor->name;

		if (!gguf_name_find(name, &item.name) || !tower_has(t, name, &item.name) ||
		    !is_in(item.name.layer_number, begin, end))
			continue;
		ufm_status status = gguf_name_read(name, &item.name);
		if (status)
			return status;
		items = alloc_grow(out->items, out->count, &room, sizeof *items);
		if (!items)
			return UFM_ENOMEM;
		out->items = items;
		items[out->count++] = item;
	}
	if (out->count > 1)
		qsort(out->items, out->count, sizeof *out->items, compare_items);
	return UFM_OK;
}

static uint32_t layer_end(const expert_tensors *all, uint32_t from)
{
	uint32_t number = all->items[from].name.layer_number;

	while (from < all->count && all->items[from].name.layer_number == number)
		from++;
	return from;
}

static uint32_t count_layers(const expert_tensors *all)
{
	uint32_t layers = 0;

	for (uint32_t at = 0; at < all->count; at = layer_end(all, at))
		layers++;
	return layers;
}

/* ---- layers */

static bool is_alike(const gguf_layer_kind *a, const gguf_layer_kind *b)
{
	return a->experts == b->experts && a->desc.d_model == b->desc.d_model &&
	       a->desc.d_hidden == b->desc.d_hidden && a->desc.part_count == b->desc.part_count &&
	       memcmp(a->desc.parts, b->desc.parts, sizeof a->desc.parts) == 0;
}

static uint32_t kind_of(gguf_set *set, const gguf_layer_kind *found)
{
	uint32_t i = 0;

	while (i < set->kind_count && !is_alike(&set->kinds[i], found))
		i++;
	if (i == set->kind_count)
		set->kinds[set->kind_count++] = *found;
	set->kinds[i].layers++;
	return i;
}

static ufm_status describe_layers(const expert_tensors *all, const gguf_arithmetic *arithmetic,
                                  ufm_dtype f16_as, gguf_set *set)
{
	uint32_t to;

	for (uint32_t from = 0; from < all->count; from = to) {
		gguf_layer *layer = &set->layers[set->count];
		gguf_layer_kind kind;
		ufm_status status;

		to = layer_end(all, from);
		status = gguf_layer_describe(&all->items[from], to - from, &set->tensors[from], arithmetic,
		                             f16_as, layer, &kind);
		if (status)
			return status;
		layer->kind = kind_of(set, &kind);
		set->count++;
	}
	return UFM_OK;
}

/* There are at most as many kinds as layers. */
static ufm_status make_room(const expert_tensors *all, gguf_set *set)
{
	uint32_t layers = count_layers(all);

	set->layers = alloc_zeroed(layers, sizeof *set->layers);
	set->kinds = alloc_zeroed(layers, sizeof *set->kinds);
	set->tensors = alloc_zeroed(all->count, sizeof *set->tensors);
	if (!set->layers || !set->kinds || !set->tensors)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < all->count; i++)
		set->tensors[i] = all->items[i].tensor;
	return UFM_OK;
}

static ufm_status fail_none(const towers *t, uint32_t begin, uint32_t end)
{
	char taken[100];

	if (t->count == 0)
		return status_fail(UFM_EFORMAT, "holds no routed experts (tensors blk.N.ffn_up_exps.…)");
	if (end == begin + 1)
		return status_fail(
			UFM_EFORMAT, "layer %u has no routed experts under \"%s\", expected one of its %u",
			begin, tower_text(&t->items[0], taken, sizeof taken), t->items[0].layers);
	return status_fail(UFM_EFORMAT, "layers %u … %u have no routed experts under \"%s\"", begin,
	                   end - 1, tower_text(&t->items[0], taken, sizeof taken));
}

static ufm_status find(const expert_tensors *all, const checkpoint *c, ufm_dtype f16_as,
                       gguf_set *set)
{
	gguf_arithmetic arithmetic;
	model_config ignored;
	ufm_status status = make_room(all, set);

	if (status)
		return status;
	gguf_model_read(checkpoint_values(c), &ignored, &arithmetic);
	return describe_layers(all, &arithmetic, f16_as, set);
}

ufm_status gguf_experts_find(const checkpoint *c, const towers *t, uint32_t begin, uint32_t end,
                             ufm_dtype f16_as, gguf_set *out)
{
	expert_tensors all = {.count = 0};
	gguf_set set = {.count = 0};
	ufm_status status = t->count ? collect(c, &t->items[0], begin, end, &all) : UFM_OK;

	if (!status && all.count == 0)
		status = fail_none(t, begin, end);
	if (!status)
		status = find(&all, c, f16_as, &set);
	alloc_free(all.items);
	if (status) {
		gguf_experts_free(&set);
		return status;
	}
	*out = set;
	return UFM_OK;
}

void gguf_experts_free(gguf_set *set)
{
	alloc_free(set->layers);
	alloc_free(set->kinds);
	alloc_free(set->tensors);
	*set = (gguf_set){.count = 0};
}

void gguf_experts_keep(gguf_set *set, uint32_t kind)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < set->count; i++) {
		if (set->layers[i].kind == kind)
			set->layers[kept++] = set->layers[i];
	}
	set->count = kept;
}

/* ---- against the key-values */

static ufm_status check_said(const char *what, uint32_t said, uint32_t found, uint32_t layer)
{
	if (!said || said == found)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "its key-values say %s %u, the tensors of layer %u have %u",
	                   what, said, layer, found);
}

ufm_status gguf_experts_check_model(const gguf_set *set, const model_config *m)
{
	ufm_status status = UFM_OK;

	for (uint32_t i = 0; !status && i < set->count; i++) {
		const gguf_layer_kind *kind = &set->kinds[set->layers[i].kind];
		uint32_t layer = set->layers[i].number;

		status = check_said("expert_count", m->experts, kind->experts, layer);
		if (!status)
			status = check_said("d_model", m->d_model, kind->desc.d_model, layer);
		if (!status)
			status = check_said("d_hidden", m->d_hidden, kind->desc.d_hidden, layer);
	}
	return status;
}

/* ---- for people */

/* The end of the run of layers of one kind that begins at `from`; layers of other kinds may stand between. */
static uint32_t run_end(const gguf_set *set, uint32_t kind, uint32_t from, uint32_t *last)
{
	uint32_t i = from;

	*last = set->layers[from].number;
	for (i++; i < set->count && set->layers[i].kind == kind && set->layers[i].number == *last + 1;
	     i++)
		*last = set->layers[i].number;
	return i;
}

const char *gguf_kind_layers(const gguf_set *set, uint32_t kind, char *text, size_t size)
{
	size_t used = 0;
	uint32_t last;

	*text = '\0';
	for (uint32_t i = 0; i < set->count;) {
		const char *between = used ? ", " : "";
		uint32_t first = set->layers[i].number;
		if (set->layers[i].kind != kind) {
			i++;
			continue;
		}
		i = run_end(set, kind, i, &last);
		if (used + 32 > size) {
			snprintf(text + used, size - used, ", …");
			break;
		}
		if (last > first)
			used += (size_t)snprintf(text + used, size - used, "%s%u … %u", between, first, last);
		else
			used += (size_t)snprintf(text + used, size - used, "%s%u", between, first);
	}
	return text;
}
