/* SPDX-License-Identifier: MIT */
/*
 * Counts with ageing, what lfu and cost have in common. An inserted key has a value: the cache's age at
 * its last use, plus its uses since it was inserted, times its weight. The least leaves, among equals
 * the least recently used; the age then rises to the value that left. So a key that was used often long
 * ago is overtaken by newcomers, and nothing has to be divided or forgotten in turn.
 *
 * Values are doubles: where weights are 1 they are whole numbers and exact up to 2^53.
 */
#ifndef UFM_POLICY_AGED_H
#define UFM_POLICY_AGED_H

#include "policy/key_heap.h"

typedef struct aged {
	key_heap heap;
	uint32_t *uses; /* [keys]; of an inserted key */
	float *weight;  /* [keys]; NULL: all are 1 */
	double age;
	uint64_t now; /* uses and insertions so far */
} aged;

/* weight: [keys], finite and > 0, copied; NULL: all are 1. UFM_ENOMEM. */
ufm_status aged_create(const ufm_policy_config *config, const float *weight, void **state);

/* The rest of a policy's table; state is an aged. */
void aged_destroy(void *state);
void aged_event(void *state, uint32_t layer);
void aged_use(void *state, uint32_t key, const ufm_policy_use *use);
void aged_insert(void *state, uint32_t key);
void aged_remove(void *state, uint32_t key);
uint32_t aged_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering);

#endif
