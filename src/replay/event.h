/* SPDX-License-Identifier: MIT */
/* One event on a cache. */
#ifndef UFM_REPLAY_EVENT_H
#define UFM_REPLAY_EVENT_H

#include "cache/cache.h"
#include "schedule/admit.h"
#include "schedule/launches.h"

typedef struct event_scratch {
	uint32_t *missing;        /* [members_max] */
	schedule_demand *demands; /* [members_max]; with a ring */
	uint32_t *slots;          /* [experts]; with a ring: where a demanded expert is held */
} event_scratch;

ufm_status event_scratch_open(uint32_t members_max, uint32_t experts, event_scratch *out);
void event_scratch_close(event_scratch *s); /* a zeroed one is allowed */

/* Misses are placed in the order of the members. `first` is the key of the layer's expert 0. Returns the
 * hits. */
uint32_t event_run(cache *c, uint32_t layer, uint32_t first, const cache_member *members,
                   uint32_t n, event_scratch *scratch);

/* How many of n misses, in the order of schedule_layer, the CPU computes: the last ones. fills: so many have a free
 * place, and an engine leaves these to the link. */
typedef struct event_cpu {
	uint32_t (*share)(void *ctx, const schedule_demand *misses, uint32_t n, uint32_t fills);
	void *ctx;
} event_cpu;

/* How an engine runs its layer calls. */
typedef struct event_engine {
	uint32_t together;    /* misses of a copy */
	admit *admit;         /* its CPU path is on; NULL: off */
	bool shares_always;   /* the CPU's share is fixed */
	const event_cpu *cpu; /* NULL: nobody asks who computes what */
} event_engine;

/* The same as an engine does it (moe/launch.c, moe/assisted.c, pager/demand.c), by the same cursor (schedule/launches.h):
 * residents are pinned until they were launched, misses are placed in the order of schedule_layer. What the CPU
 * computes is placed like all other misses, after them, but where the event is broad (cache_is_broad).
 * UFM_EBUSY cannot happen with a ring of two and more. On return scratch->demands holds the members in the order
 * of schedule_layer. */
ufm_status event_run_as_engine(cache *c, uint32_t layer, uint32_t first, const event_engine *engine,
                               const cache_member *members, uint32_t n, event_scratch *scratch,
                               uint32_t *hits);

#endif
