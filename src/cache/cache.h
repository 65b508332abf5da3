/* SPDX-License-Identifier: MIT */
/*
 * What is resident. Pure: the cache decides which slot an expert gets and which one it displaces; it moves
 * no byte, takes no lock, waits for nothing. Its owner serialises calls.
 *
 * Slots are `places` main slots, whose tenants the policy orders, and `ring` slots that are refilled
 * next, oldest first. These are labels, not addresses: every miss is loaded into the oldest ring
 * slot; if the policy gives it the place of a victim, the two slots swap labels. So the victim stays
 * readable until the ring comes round, admitting costs no second copy, LRU and FIFO behave as with
 * slots = places + ring, and an expert that only passes through is resident until it is overwritten.
 * An expert found in the ring may be offered to the policy again. (LRU: exactly, while no event has
 * more members than there are places. FIFO: exactly, for events of one member; a member of a larger
 * one is skipped at the door of the ring, where a cache without ring would skip it later.)
 *
 * Slot states: FREE → LOADING (a copy was ordered) → READY; a failed load → FREE. A slot with pins
 * is in use and is never refilled. Members of the current event are locked: the policy may not
 * choose them; a placement takes one only when nothing else is left (a layer that demands more than
 * fits: its first members have been computed by then). For an offline bound members are not locked:
 * it decides itself what stays when an event ends.
 */
#ifndef UFM_CACHE_CACHE_H
#define UFM_CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/policy.h>
#include <ufm/ufm.h>

#define SLOT_NONE UINT32_MAX

typedef struct cache cache;

typedef struct cache_config {
	uint32_t slots;     /* >= 1 */
	uint32_t ring;      /* <= slots; 0: no ring (replay, or everything resident) */
	uint32_t slots_max; /* that cache_resize may ask for; 0: slots */
	uint32_t layers, experts;
	const ufm_policy *policy;
	uint64_t seed;
	const float *cost; /* [layers * experts], for the policy; NULL: all reloads cost alike */
} cache_config;

/* The ring that suits a number of slots: `wanted` (0: 4), but at most half of the slots, at least 2,
 * at most all of them. */
uint32_t cache_ring_for(uint32_t slots, uint32_t wanted);

ufm_status cache_open(const cache_config *config, cache **out);
void cache_close(cache *c); /* NULL is allowed */

typedef struct cache_member {
	uint32_t expert;
	uint32_t tokens;     /* >= 1 */
	uint64_t next_event; /* UFM_NEVER unless the future is known */
} cache_member;

/* An event begins: its members, pairwise different, in rank order, are locked and told to the
 * policy; members that linger in the ring are offered a place. Events may nest (a lease within a
 * layer's call). */
void cache_event_begin(cache *c, uint32_t layer, const cache_member *members, uint32_t n);
/* The two halves of a beginning. The members' residents are known after the first; the policy, which takes longer, may
 * hear of them later, but before anything is placed and before the event ends. */
void cache_event_lock(cache *c, uint32_t layer, const cache_member *members, uint32_t n);
void cache_event_tell(cache *c, uint32_t layer, const cache_member *members, uint32_t n);
void cache_event_end(cache *c, uint32_t layer, const cache_member *members, uint32_t n);
/* After an event: members that the policy declined and that nobody has pinned are forgotten. Their ring slots hold
 * nothing and are refilled first, so what is resident does not depend on how a declined member was computed. */
void cache_forget_declined(cache *c, uint32_t layer, const cache_member *members, uint32_t n);
/* Whether two tokens of an event share a member, or it has more members than there are places. */
bool cache_is_broad(const cache *c, const cache_member *members, uint32_t n);
/* How many of so many misses have a free place. */
uint32_t cache_fills(const cache *c, uint32_t misses);
/* For newcomers from now on, as ufm_policy.set_bar; without effect for policies that have none. 0: closed, none is
 * kept, not even where there is a free place. */
void cache_set_bar(cache *c, float bar);
/* How much the policy would like to keep a key that is not resident, had it to decide now: under how many of the
 * bars 1, .7, .7², … it would, of CACHE_APPEAL_MAX. Within an event; sets the bar to 1. */
#define CACHE_APPEAL_MAX 8u
uint32_t cache_appeal(cache *c, uint32_t key);

/* The slot of a resident expert (LOADING or READY), or SLOT_NONE. */
uint32_t cache_find(const cache *c, uint32_t key);

typedef struct cache_placement {
	uint32_t slot;
	uint32_t generation;  /* counts the slot's tenants */
	uint32_t evicted_key; /* whose bytes are overwritten; UFM_KEY_NONE: the slot was free */
	bool kept;            /* in a main slot; false: passes through the ring */
} cache_placement;

/* A slot for a key that is not resident: LOADING, without pins. UFM_EBUSY: every slot is pinned.
 * With ring = 0 and nothing to displace the key goes nowhere: UFM_OK with slot SLOT_NONE. */
ufm_status cache_place(cache *c, uint32_t key, cache_placement *out);
/* The same, but only into a slot that holds nothing (a hint): UFM_EBUSY if there is none. */
ufm_status cache_place_free(cache *c, uint32_t key, cache_placement *out);
/* cache_place in two steps that come to the same, for whoever wants to fill the slot before the policy is asked, which takes
 * longer than to begin a copy. cache_reserve gives the slot; false: that needs the policy, and nothing was done. cache_decide
 * follows for each, in the order of the reservations and with nothing but cache_pin and more of them between; it says whether
 * the key is kept. A reserved slot must be pinned before the next is reserved. */
bool cache_reserve(cache *c, uint32_t key, cache_placement *out);
bool cache_decide(cache *c, uint32_t key);
/* Slots by their index. A load ended: ignored when the slot has another generation by now. A slot whose load failed must
 * have no pins. */
void cache_loaded(cache *c, uint32_t index, uint32_t generation);
void cache_load_failed(cache *c, uint32_t index, uint32_t generation);

void cache_pin(cache *c, uint32_t index);
void cache_unpin(cache *c, uint32_t index);

/* A tenant that changed its slot: LOADING in the new one, until cache_loaded or cache_load_failed. */
typedef struct cache_move {
	uint32_t from, to, generation; /* generation: of `to` */
} cache_move;

typedef struct cache_resized {
	uint32_t moves, evictions;
} cache_resized;

/*
 * Changes the number of slots and of those in the ring. No event may be in progress, and to shrink no
 * slot LOADING. Slots keep their indices; those at `slots` and above go. As many experts stay as fit:
 * first the policy's victims leave the places for the ring, then the ring's oldest leave. Whoever stays
 * and is in a slot that goes moves to one that remains: moves[] has room for as many as slots go.
 * UFM_EBUSY, and nothing changes: a slot that goes is pinned, or more slots are pinned than there would
 * be places.
 */
ufm_status cache_resize(cache *c, uint32_t slots, uint32_t ring, cache_move *moves,
                        cache_resized *out);

typedef struct cache_stats {
	uint32_t slots, ring, free, loading, ready; /* free + loading + ready = slots */
	uint32_t free_places;                       /* free ones that are not in the ring */
	uint32_t pinned;                            /* slots with at least one pin */
	uint32_t used_high_water;                   /* most of loading + ready */
} cache_stats;
void cache_get_stats(const cache *c, cache_stats *out);

typedef struct cache_slot {
	enum { SLOT_FREE, SLOT_LOADING, SLOT_READY } state;
	uint32_t key, pins, generation;
	bool in_ring;
	bool passing; /* in the ring because the policy declined it */
} cache_slot;
void cache_get_slot(const cache *c, uint32_t index, cache_slot *out);

/* Checks every invariant in O(slots + keys); false with one line in *why. For tests. */
bool cache_check(const cache *c, const char **why);

#endif
