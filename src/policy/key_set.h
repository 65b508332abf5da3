/* SPDX-License-Identifier: MIT */
/* The inserted keys in no order, dense, for policies that search them all: O(1) to change. */
#ifndef UFM_POLICY_KEY_SET_H
#define UFM_POLICY_KEY_SET_H

#include <stdint.h>
#include <ufm/policy.h>

typedef struct key_set {
	uint32_t count, capacity;
	uint32_t *members; /* [capacity] */
	uint32_t *index;   /* [keys]; of a member */
} key_set;

ufm_status key_set_init(key_set *set, uint32_t capacity, uint32_t keys);
void key_set_free(key_set *set); /* a zeroed set is allowed */

void key_set_add(key_set *set, uint32_t key);
void key_set_drop(key_set *set, uint32_t key);

#endif
