/* SPDX-License-Identifier: MIT */
/* One event on a cache. */
#ifndef UFM_REPLAY_EVENT_H
#define UFM_REPLAY_EVENT_H

#include "cache/cache.h"
#include "schedule/schedule.h"

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

/* How many of n misses, in the order of schedule_layer, the CPU computes: the last ones, which then get no
 * slot. `free`: slots that hold nothing. */
typedef struct event_cpu {
	uint32_t (*share)(void *ctx, const schedule_demand *misses, uint32_t n, uint32_t free);
	void *ctx;
} event_cpu;

/* The same as an engine does it (moe/launch.c, pager/layer.c): residents are pinned until they were launched,
 * copies of `together` misses are started up to two ahead of the launch that reads them, in the order of
 * schedule_layer. cpu NULL: its CPU path is off. UFM_EBUSY cannot happen with a ring of two and more. On return
 * scratch->demands holds the members in the order of schedule_layer. */
ufm_status event_run_as_engine(cache *c, uint32_t layer, uint32_t first, uint32_t together,
                               const cache_member *members, uint32_t n, const event_cpu *cpu,
                               event_scratch *scratch, uint32_t *hits);

#endif
