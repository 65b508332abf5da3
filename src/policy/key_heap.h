/* SPDX-License-Identifier: MIT */
/* The inserted keys as a heap by rank, least first, for policies whose ranks change one at a time:
 * O(log members) to change a rank, and nothing is allocated after init. */
#ifndef UFM_POLICY_KEY_HEAP_H
#define UFM_POLICY_KEY_HEAP_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/policy.h>

/* By `rank`, and where that is equal by `tie`. */
typedef struct key_rank {
	uint64_t rank, tie;
} key_rank;

typedef struct key_heap_node {
	key_rank by;
	uint32_t key;
} key_heap_node;

typedef struct key_heap {
	uint32_t count, capacity;
	key_heap_node *nodes; /* [capacity]; node 0 is the least, the children of i: 2i + 1, 2i + 2 */
	uint32_t *index;      /* [keys]; of a member's node; UFM_KEY_NONE: no member */
} key_heap;

ufm_status key_heap_init(key_heap *h, uint32_t capacity, uint32_t keys);
void key_heap_free(key_heap *h); /* a zeroed heap is allowed */

void key_heap_add(key_heap *h, uint32_t key, key_rank by); /* must be no member */
void key_heap_drop(key_heap *h, uint32_t key);             /* must be a member */
void key_heap_set(key_heap *h, uint32_t key, key_rank by); /* must be a member */

static inline bool key_heap_has(const key_heap *h, uint32_t key)
{
	return h->index[key] != UFM_KEY_NONE;
}

/* The rank of a member. */
static inline key_rank key_heap_rank(const key_heap *h, uint32_t key)
{
	return h->nodes[h->index[key]].by;
}

/* The member of the least rank that is not locked, nor spared, which those are whose stamp is `spared`
 * (0: nobody, and stamps may be NULL); else UFM_KEY_NONE. locked, stamps: [keys]. It costs O(1) more
 * for each locked or spared key of a lesser rank. */
uint32_t key_heap_least(const key_heap *h, const uint8_t *locked, const uint64_t *stamps,
                        uint64_t spared);

#endif
