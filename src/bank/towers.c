/* SPDX-License-Identifier: MIT */
/* Groups the routed layers of a checkpoint by their names and ranks the groups. */
#include "bank/towers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/gguf_experts.h"
#include "base/alloc.h"
#include "base/status.h"

/* A routed layer, by the name of one of its tensors. */
typedef struct routed_layer {
	const char *tensor;
	expert_name name;
} routed_layer;

typedef struct layer_list {
	routed_layer *items;
	uint32_t count, room;
} layer_list;

/* ---- names */

/* How two beginnings of names are ordered. */
static int compare_text(const char *a, uint32_t a_bytes, const char *b, uint32_t b_bytes)
{
	int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

	return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

/* Whether the longer one is the shorter, or goes on behind it with a '.'. */
static bool is_under(const char *longer, size_t longer_bytes, const char *shorter,
                     size_t shorter_bytes)
{
	if (longer_bytes < shorter_bytes || memcmp(longer, shorter, shorter_bytes) != 0)
		return false;
	return shorter_bytes == 0 || longer_bytes == shorter_bytes || longer[shorter_bytes] == '.';
}

/* Components begin with one of these in stacks that stand beside the main one. */
static bool is_beside(const tower *t)
{
	static const char *const words[] = {"mtp",    "nextn",  "draft",  "eagle",
	                                    "talker", "vision", "visual", "audio"};

	for (uint32_t at = 0; at < t->name_bytes; at++) {
		if (at > 0 && t->name[at - 1] != '.')
			continue;
		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
			size_t length = strlen(words[i]);

			if (t->name_bytes - at >= length && memcmp(t->name + at, words[i], length) == 0)
				return true;
		}
	}
	/* A layer past the last. */
	return t->name_bytes != t->tower_bytes;
}

bool tower_has(const tower *t, const char *tensor, const expert_name *name)
{
	return name->tower_bytes == t->tower_bytes && memcmp(tensor, t->name, t->tower_bytes) == 0 &&
	       name->layer_number >= t->numbers[0] && name->layer_number <= t->numbers[t->layers - 1];
}

const char *tower_text(const tower *t, char *text, size_t size)
{
	if (t->name_bytes)
		snprintf(text, size, "%.*s", (int)t->name_bytes, t->name);
	else
		snprintf(text, size, "(no name)");
	return text;
}

/* ---- layers */

static int compare_layers(const void *a, const void *b)
{
	const routed_layer *x = a, *y = b;
	int order = compare_text(x->tensor, x->name.tower_bytes, y->tensor, y->name.tower_bytes);

	if (order)
		return order;
	return (x->name.layer_number > y->name.layer_number) -
	       (x->name.layer_number < y->name.layer_number);
}

/* Tensors are sorted by name, so those of a layer stand together. */
static ufm_status list_layers(const checkpoint *c, layer_list *list)
{
	bool (*find_name)(const char *, expert_name *) =
		checkpoint_values(c) ? gguf_name_find : expert_name_find;

	for (uint32_t i = 0; i < checkpoint_tensor_count(c); i++) {
		routed_layer found = {.tensor = checkpoint_tensor_at(c, i)->name}, *items;

		if (!find_name(found.tensor, &found.name))
			continue;
		if (list->count && compare_layers(&found, &list->items[list->count - 1]) == 0)
			continue;
		items = alloc_grow(list->items, list->count, &list->room, sizeof *items);
		if (!items)
			return UFM_ENOMEM;
		list->items = items;
		items[list->count++] = found;
	}
	return UFM_OK;
}

/* Sorts them, and keeps each once: one whose tensors have two names did not stand together. */
static void sort_layers(layer_list *list)
{
	uint32_t kept = 0;

	if (list->count > 1)
		qsort(list->items, list->count, sizeof *list->items, compare_layers);
	for (uint32_t i = 0; i < list->count; i++) {
		if (kept == 0 || compare_layers(&list->items[kept - 1], &list->items[i]) != 0)
			list->items[kept++] = list->items[i];
	}
	list->count = kept;
}

/* ---- towers */

static bool is_same_tower(const tower *t, const routed_layer *layer)
{
	return compare_text(t->name, t->tower_bytes, layer->tensor, layer->name.tower_bytes) == 0;
}

/* One tower for each name; there is room for one a layer. */
static void group(const layer_list *list, towers *t)
{
	for (uint32_t i = 0; i < list->count; i++) {
		const routed_layer *layer = &list->items[i];

		t->numbers[i] = layer->name.layer_number;
		if (!t->count || !is_same_tower(&t->items[t->count - 1], layer))
			t->items[t->count++] = (tower){.name = layer->tensor,
			                               .name_bytes = layer->name.tower_bytes,
			                               .tower_bytes = layer->name.tower_bytes,
			                               .numbers = &t->numbers[i]};
		t->items[t->count - 1].layers++;
	}
}

static int compare_towers(const void *a, const void *b)
{
	const tower *x = a, *y = b;
	bool x_beside = is_beside(x), y_beside = is_beside(y);

	if (x->layers != y->layers)
		return x->layers < y->layers ? 1 : -1;
	if (x_beside != y_beside)
		return x_beside ? 1 : -1;
	return compare_text(x->name, x->name_bytes, y->name, y->name_bytes);
}

static bool has_prefix(const tower *t, const char *prefix, size_t prefix_bytes)
{
	return is_under(t->name, t->name_bytes, prefix, prefix_bytes);
}

/* "model.layers" has what is asked for by "model.layers.61". */
static bool may_have(const tower *t, const char *prefix, size_t prefix_bytes)
{
	return is_under(prefix, prefix_bytes, t->name, t->name_bytes);
}

/* Puts the first tower that fits before all others, which stay in their order; false: none fits. */
static bool take(towers *t, const char *prefix, size_t prefix_bytes,
                 bool (*fits)(const tower *, const char *, size_t))
{
	for (uint32_t i = 0; i < t->count; i++) {
		tower taken = t->items[i];

		if (!fits(&taken, prefix, prefix_bytes))
			continue;
		memmove(&t->items[1], &t->items[0], i * sizeof *t->items);
		t->items[0] = taken;
		return true;
	}
	return false;
}

static void rank(tower *items, uint32_t count)
{
	if (count > 1)
		qsort(items, count, sizeof *items, compare_towers);
}

/* The layers of the first tower that are past the last which config.json counts become towers of their own, behind
 * it and before all others: each predicts another token, from inputs of its own. */
static void part_past(towers *t, const layer_list *list)
{
	const tower whole = t->items[0];
	const routed_layer *layers = &list->items[whole.numbers - t->numbers];
	uint32_t kept = 0, past;

	assert(list->items && whole.layers);
	while (kept < whole.layers && whole.numbers[kept] < t->model.layers)
		kept++;
	past = t->model.layers ? whole.layers - kept : 0;
	if (past == 0)
		return;
	memmove(&t->items[past + (kept > 0)], &t->items[1], (t->count - 1) * sizeof *t->items);
	t->count += past - (kept == 0);
	t->items[0].layers = kept;
	for (uint32_t i = kept; i < whole.layers; i++)
		t->items[i - kept + (kept > 0)] = (tower){.name = layers[i].tensor,
		                                          .name_bytes = layers[i].name.layer_bytes,
		                                          .tower_bytes = layers[i].name.tower_bytes,
		                                          .numbers = &whole.numbers[i],
		                                          .layers = 1};
}

static ufm_status read_model(const checkpoint *c, towers *t)
{
	char name[MODEL_TEXT_BYTES] = "";
	gguf_arithmetic ignored;

	if (checkpoint_values(c)) {
		gguf_model_read(checkpoint_values(c), &t->model, &ignored);
		return UFM_OK;
	}
	if (t->count)
		tower_text(&t->items[0], name, sizeof name);
	return model_config_read(checkpoint_config_path(c), name, &t->model);
}

static ufm_status fail_prefix(const checkpoint *c, const towers *t, const char *prefix)
{
	char list[256] = "", name[100];
	size_t used = 0;
	uint32_t listed = 0;

	for (; listed < t->count && used + sizeof name + 2 < sizeof list; listed++)
		used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", listed ? ", " : "",
		                         tower_text(&t->items[listed], name, sizeof name));
	return status_fail(UFM_EFORMAT,
	                   "%s: holds no routed layers under \"%.100s\", expected one of %s%s",
	                   checkpoint_path(c), prefix, list, listed < t->count ? ", …" : "");
}

/* The config is that of the tower that is taken, and says which of its layers are past its last. */
static ufm_status choose(const checkpoint *c, const char *prefix, const layer_list *list, towers *t)
{
	size_t bytes = strlen(prefix);
	ufm_status status;

	while (bytes && prefix[bytes - 1] == '.')
		bytes--;
	rank(t->items, t->count);
	if (t->count && !take(t, prefix, bytes, has_prefix) && !take(t, prefix, bytes, may_have))
		return fail_prefix(c, t, prefix);
	status = read_model(c, t);
	if (status || !t->count)
		return status;
	part_past(t, list);
	if (!take(t, prefix, bytes, has_prefix))
		return fail_prefix(c, t, prefix);
	rank(&t->items[1], t->count - 1);
	return UFM_OK;
}

ufm_status towers_find(const checkpoint *c, const char *prefix, towers *out)
{
	layer_list list = {0};
	towers t = {0};
	ufm_status status = list_layers(c, &list);

	if (!status) {
		sort_layers(&list);
		t.items = alloc_zeroed(list.count, sizeof *t.items);
		t.numbers = alloc_zeroed(list.count, sizeof *t.numbers);
		status = t.items && t.numbers ? UFM_OK : UFM_ENOMEM;
	}
	if (!status) {
		group(&list, &t);
		status = choose(c, prefix ? prefix : "", &list, &t);
	}
	alloc_free(list.items);
	if (status) {
		towers_free(&t);
		return status;
	}
	*out = t;
	return UFM_OK;
}

void towers_free(towers *t)
{
	alloc_free(t->items);
	alloc_free(t->numbers);
	t->items = NULL;
	t->numbers = NULL;
	t->count = 0;
}
