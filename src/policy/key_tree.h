/* SPDX-License-Identifier: MIT */
/* For each layer a tournament of the inserted keys by value, so that the least of a layer is found
 * without looking at all of them: O(log experts) to change a value and to find the least. */
#ifndef UFM_POLICY_KEY_TREE_H
#define UFM_POLICY_KEY_TREE_H

#include <math.h>
#include <stdint.h>
#include <ufm/policy.h>

#define KEY_TREE_ABSENT INFINITY /* the value of a key that is not inserted */

typedef struct key_tree {
	uint32_t layers, experts;
	uint32_t leaves; /* of a layer: a power of two, >= experts */
	float *top;      /* [layers]; the value of the root, close together for a look at all layers */
	float *least; /* [layers][2 * leaves]: node 1 is the root, the children of i are 2i, 2i + 1 */
} key_tree;

ufm_status key_tree_init(key_tree *t, uint32_t layers, uint32_t experts);
void key_tree_free(key_tree *t); /* a zeroed tree is allowed */

void key_tree_set(key_tree *t, uint32_t key, float value);
/* All values of a layer at once: write the leaves, which stand in the order of the experts, then
 * rebuild. */
float *key_tree_leaves(key_tree *t, uint32_t layer);
void key_tree_rebuild(key_tree *t, uint32_t layer);

/* The key of a layer that is not locked and has the least value, if that is below *below, which
 * becomes its value; else UFM_KEY_NONE. locked: [keys]. It costs O(1) more for each locked key of
 * a smaller value. */
uint32_t key_tree_least(const key_tree *t, uint32_t layer, const uint8_t *locked, float *below);

#endif
