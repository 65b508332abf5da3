/* SPDX-License-Identifier: MIT */
/* The cache's state, shared by its files. */
#ifndef UFM_CACHE_CACHE_INT_H
#define UFM_CACHE_CACHE_INT_H

#include "cache/cache.h"

/* A slot is in exactly one of two lists or in none: a ring slot is in the ring, a free main slot in
 * the free list; an occupied main slot is in neither, because the policy orders those. */
typedef struct slot_list {
	uint32_t oldest, youngest; /* SLOT_NONE: empty */
	uint32_t count;
} slot_list;

typedef struct slot {
	cache_slot view;
	uint32_t older, younger; /* neighbours in its list */
} slot;

struct cache {
	uint32_t slots_max, slots_count, ring_slots, places;
	uint32_t layers, experts, keys;
	const ufm_policy *policy;
	void *policy_state;
	bool closed;       /* by cache_set_bar */
	bool members_lock; /* members of a current event may not leave by the policy's choice */

	slot *slots;    /* [slots_max]; those beyond slots_count are empty */
	slot_list ring; /* oldest first; free ones are at the old end */
	slot_list free_main;
	uint32_t *slot_of; /* [keys]; SLOT_NONE */
	uint32_t *members; /* [keys]; current events that the key is a member of */
	uint8_t *locked;   /* [keys]; what the policy may not choose */

	/* the layer whose first sweep is in progress, or UFM_KEY_NONE; and how many more free places it may take */
	uint32_t sweeping, sweep_room;
	uint8_t *swept; /* [layers]; whether a broad event of the layer has ended */

	uint64_t events;
	uint32_t free, loading, ready, pinned, used_high_water;
};

static inline slot *slot_at(cache *c, uint32_t index)
{
	return &c->slots[index];
}

void slot_list_append(cache *c, slot_list *list, uint32_t index);  /* as the youngest */
void slot_list_prepend(cache *c, slot_list *list, uint32_t index); /* as the oldest */
void slot_list_unlink(cache *c, slot_list *list, uint32_t index);
void slot_list_replace(cache *c, slot_list *list, uint32_t index, uint32_t other);
/* Labels and lists every empty slot, none of which is in a list: the ring gets what it lacks. */
void slot_list_empty_slots(cache *c);

/* Brings locked[key] up to date with the key's pins and memberships. */
static inline void cache_update_lock(cache *c, uint32_t key)
{
	uint32_t index = c->slot_of[key];
	bool pinned = index != SLOT_NONE && slot_at(c, index)->view.pins > 0;

	c->locked[key] = pinned || (c->members_lock && c->members[key] > 0);
}

/* The oldest ring slot that is free, or has no pins and, without members_too, a tenant that no
 * current event demands; or SLOT_NONE. */
uint32_t cache_oldest_unpinned(cache *c, bool members_too);

/* The tenant is gone from its slot, whose list is the caller's affair. Returns its key. */
uint32_t cache_evict(cache *c, slot *s);

/* The policy's answer, or UFM_KEY_NONE when there are no places. */
uint32_t cache_ask_victim(cache *c, uint32_t newcomer, bool lingering);

/* A ring slot becomes a main one, whose tenant is inserted. */
void cache_make_main(cache *c, uint32_t ring_slot);
/* A main slot becomes the ring's youngest: its tenant, the victim, is removed. */
void cache_make_ring(cache *c, uint32_t victim);
/* A ring slot and the victim's main slot swap labels: the tenant of the first is inserted, the
 * victim is removed and becomes the ring's youngest. */
void cache_swap_with_victim(cache *c, uint32_t ring_slot, uint32_t victim);
/* A ring slot and a free main slot swap labels: the tenant is inserted. */
void cache_swap_with_free(cache *c, uint32_t ring_slot);

#endif
