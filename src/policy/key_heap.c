/* SPDX-License-Identifier: MIT */
/* A heap of keys by rank. */
#include "policy/key_heap.h"

#include <assert.h>

#include "base/alloc.h"

/* Of todo[] in a search: a path from the root, and a sibling for each of its nodes. */
#define HEIGHT_MAX 34

ufm_status key_heap_init(key_heap *h, uint32_t capacity, uint32_t keys)
{
	*h = (key_heap){.capacity = capacity};
	h->nodes = alloc_zeroed(capacity, sizeof *h->nodes);
	h->index = alloc_zeroed(keys, sizeof *h->index);
	if (!h->nodes || !h->index) {
		key_heap_free(h);
		return UFM_ENOMEM;
	}
	for (uint32_t key = 0; key < keys; key++)
		h->index[key] = UFM_KEY_NONE;
	return UFM_OK;
}

void key_heap_free(key_heap *h)
{
	alloc_free(h->nodes);
	alloc_free(h->index);
	*h = (key_heap){0};
}

static bool less(key_rank a, key_rank b)
{
	return a.rank != b.rank ? a.rank < b.rank : a.tie < b.tie;
}

static void put(key_heap *h, uint32_t at, key_heap_node node)
{
	h->nodes[at] = node;
	h->index[node.key] = at;
}

/* There is a hole at `at`: it moves up to where the node fits. */
static void sift_up(key_heap *h, uint32_t at, key_heap_node node)
{
	while (at) {
		uint32_t parent = (at - 1) / 2;

		if (!less(node.by, h->nodes[parent].by))
			break;
		put(h, at, h->nodes[parent]);
		at = parent;
	}
	put(h, at, node);
}

static void sift_down(key_heap *h, uint32_t at, key_heap_node node)
{
	for (uint32_t child = 2 * at + 1; child < h->count; child = 2 * at + 1) {
		if (child + 1 < h->count && less(h->nodes[child + 1].by, h->nodes[child].by))
			child++;
		if (!less(h->nodes[child].by, node.by))
			break;
		put(h, at, h->nodes[child]);
		at = child;
	}
	put(h, at, node);
}

static void settle(key_heap *h, uint32_t at, key_heap_node node)
{
	if (at && less(node.by, h->nodes[(at - 1) / 2].by))
		sift_up(h, at, node);
	else
		sift_down(h, at, node);
}

void key_heap_add(key_heap *h, uint32_t key, key_rank by)
{
	assert(!key_heap_has(h, key) && h->count < h->capacity);
	sift_up(h, h->count++, (key_heap_node){by, key});
}

void key_heap_drop(key_heap *h, uint32_t key)
{
	uint32_t at = h->index[key];
	key_heap_node last;

	assert(at != UFM_KEY_NONE);
	last = h->nodes[--h->count];
	h->index[key] = UFM_KEY_NONE;
	if (at < h->count)
		settle(h, at, last);
}

void key_heap_set(key_heap *h, uint32_t key, key_rank by)
{
	uint32_t at = h->index[key];

	assert(at != UFM_KEY_NONE);
	settle(h, at, (key_heap_node){by, key});
}

/* Depth first, the lesser child first, and only below nodes that may not leave: what lies below one
 * that may is no less. */
uint32_t key_heap_least(const key_heap *h, const uint8_t *locked, const uint64_t *stamps,
                        uint64_t spared)
{
	const key_heap_node *nodes = h->nodes, *found = NULL;
	uint32_t todo[HEIGHT_MAX], n = 0;

	if (h->count)
		todo[n++] = 0;
	while (n) {
		uint32_t at = todo[--n], child = 2 * at + 1;

		if (found && !less(nodes[at].by, found->by))
			continue;
		if (!locked[nodes[at].key] && !(spared && stamps[nodes[at].key] == spared)) {
			found = &nodes[at];
		} else if (child + 1 < h->count) {
			uint32_t lesser = child + less(nodes[child + 1].by, nodes[child].by);

			todo[n++] = lesser == child ? child + 1 : child;
			todo[n++] = lesser;
		} else if (child < h->count) {
			todo[n++] = child;
		}
	}
	return found ? found->key : UFM_KEY_NONE;
}
