/* SPDX-License-Identifier: MIT */
/* What a layer call and its cache have to agree on before and while misses get slots. An engine and its replays ask
 * here, so that they count the same hits. Pure. */
#ifndef UFM_SCHEDULE_JUDGE_H
#define UFM_SCHEDULE_JUDGE_H

#include "cache/cache.h"
#include "schedule/admit.h"
#include "schedule/schedule.h"

/* A call whose misses link and CPU share. */
typedef struct judge_call {
	cache *cache;
	admit *admit;
	bool shares_always; /* a fixed share is the CPU's even where places are free */
	bool broad;         /* cache_is_broad */
	uint32_t first;     /* the key of the layer's expert 0 */
	uint32_t misses;    /* of the cache: those without a slot */
} judge_call;

/* What the link brings should be what will stay, and not everything may: sets the `appeal` of what has no slot, and
 * gives how choosy admission is. *fills: so many of the misses have a free place, and the link therefore brings them. */
admit_turn judge_misses(const judge_call *call, schedule_demand *wanted, uint32_t n,
                        uint32_t *fills);

/* When every slot is pinned, the first launch must free one for the first miss: one that this call alone has pinned is
 * `refilled_next`. held [experts]: the slots of the residents. */
void judge_free_one_early(const cache *c, schedule_demand *wanted, uint32_t n,
                          const uint32_t *held);

/* cache_place, as choosy as it is that key's turn to be. */
ufm_status judge_place(cache *c, admit_turn *turn, uint32_t key, cache_placement *out);
/* The same by cache_reserve and cache_decide, in turns that are not choosy: those are asked about their misses before. */
bool judge_reserve(cache *c, const admit_turn *turn, uint32_t key, cache_placement *out);
bool judge_decide(cache *c, admit_turn *turn, uint32_t key);

#endif
