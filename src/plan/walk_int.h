/* SPDX-License-Identifier: MIT */
/* A walk, for walk*.c. */
#ifndef UFM_PLAN_WALK_INT_H
#define UFM_PLAN_WALK_INT_H

#include "plan/backlog.h"
#include "plan/walk.h"
#include "replay/event.h"

struct walk {
	walk_config config;
	cache *cache;
	event_scratch scratch;
	uint32_t *counts;         /* [experts], scratch */
	schedule_demand *demands; /* [experts], in order of first appearance */
	cache_member *members;    /* [experts] */
	uint64_t *costs;          /* [experts], scratch of the split */
	int32_t *ids;             /* [ids_room] */
	uint64_t ids_room;
	timing_step clock; /* of the step in progress, or of the last */
	backlog owed;
	/* of the event in progress: what is neither in a slot nor on its way there, in the order of schedule_layer, those
	 * whose copy is owed included, and what of it the CPU takes: the last ones */
	uint32_t first;           /* key of the layer's expert 0 */
	schedule_demand *missing; /* [experts] */
	uint32_t missing_count, taken;
	double cpu_ns, cpu_duty;
	uint32_t event;          /* with misses that the CPU could share */
	admit admit;             /* as the engine's, where its CPU path is on */
	uint32_t learned_tokens; /* a call, of which its terms are */
	uint32_t untimed_calls;
	bool all_fit, cpu_on;
};

/* Whether an expert of the layer has a slot and waits for its copy. */
bool walk_is_late(const walk *w, const schedule_demand *demand);

/* As event_cpu.share; ctx is the walk. Finds what is missing and what of it the CPU takes; gives how many of the n
 * misses, the last ones, those are. */
uint32_t walk_share(void *ctx, const schedule_demand *misses, uint32_t n, uint32_t fills);

#endif
