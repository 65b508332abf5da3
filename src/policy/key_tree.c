/* SPDX-License-Identifier: MIT */
/* Tournaments of keys, one for each layer. */
#include "policy/key_tree.h"

#include "base/alloc.h"

/* Of todo[] in a search: a path from the root, and a sibling for each of its nodes. */
#define HEIGHT_MAX 34

ufm_status key_tree_init(key_tree *t, uint32_t layers, uint32_t experts)
{
	size_t nodes;

	*t = (key_tree){.layers = layers, .experts = experts, .leaves = 1};
	while (t->leaves < experts)
		t->leaves *= 2;
	nodes = (size_t)layers * 2 * t->leaves;
	t->least = alloc_zeroed(nodes, sizeof *t->least);
	t->top = alloc_zeroed(layers, sizeof *t->top);
	if (!t->least || !t->top) {
		key_tree_free(t);
		return UFM_ENOMEM;
	}
	for (uint32_t layer = 0; layer < layers; layer++)
		t->top[layer] = KEY_TREE_ABSENT;
	for (size_t i = 0; i < nodes; i++)
		t->least[i] = KEY_TREE_ABSENT;
	return UFM_OK;
}

void key_tree_free(key_tree *t)
{
	alloc_free(t->least);
	alloc_free(t->top);
	*t = (key_tree){0};
}

static float *nodes_of(const key_tree *t, uint32_t layer)
{
	return t->least + (size_t)layer * 2 * t->leaves;
}

static float lesser(float a, float b)
{
	return a < b ? a : b;
}

void key_tree_set(key_tree *t, uint32_t key, float value)
{
	uint32_t layer = key / t->experts;
	float *nodes = nodes_of(t, layer);
	uint32_t at = t->leaves + key - layer * t->experts;

	nodes[at] = value;
	for (at /= 2; at; at /= 2)
		nodes[at] = lesser(nodes[2 * at], nodes[2 * at + 1]);
	t->top[layer] = nodes[1];
}

float *key_tree_leaves(key_tree *t, uint32_t layer)
{
	return nodes_of(t, layer) + t->leaves;
}

void key_tree_rebuild(key_tree *t, uint32_t layer)
{
	float *nodes = nodes_of(t, layer);

	for (uint32_t at = t->leaves; at-- > 1;)
		nodes[at] = lesser(nodes[2 * at], nodes[2 * at + 1]);
	t->top[layer] = nodes[1];
}

/* Depth first, the lesser child first, and only below nodes that can still win. */
uint32_t key_tree_least(const key_tree *t, uint32_t layer, const uint8_t *locked, float *below)
{
	const float *nodes = nodes_of(t, layer);
	uint32_t first = layer * t->experts, todo[HEIGHT_MAX], n = 0, found = UFM_KEY_NONE;

	todo[n++] = 1;
	while (n) {
		uint32_t at = todo[--n];

		if (!(nodes[at] < *below))
			continue;
		if (at < t->leaves) {
			uint32_t lesser_child = 2 * at + (nodes[2 * at + 1] < nodes[2 * at]);

			todo[n++] = lesser_child ^ 1;
			todo[n++] = lesser_child;
		} else if (!locked[first + at - t->leaves]) {
			*below = nodes[at];
			found = first + at - t->leaves;
		}
	}
	return found;
}
