/* SPDX-License-Identifier: MIT */
/*
 * A layer's demand on its way: what has to happen next. A cursor over the demands in the order of
 * schedule_layer. Whoever drives it performs its answers: moe by copies and kernels, replay on a cache, a
 * plan on a clock. So all three do the same things in the same order. Pure.
 *
 * Misses are started (given a slot, and a copy) up to two copies ahead of the launch that reads the first,
 * before whatever is launched next: a launch takes the host longer than the start of a copy. The driver may
 * be late with a start, and may give the last misses to the CPU; what comes before what never changes.
 */
#ifndef UFM_SCHEDULE_LAUNCHES_H
#define UFM_SCHEDULE_LAUNCHES_H

#include "schedule/schedule.h"

/* Copies that are started before the launch that reads the first. */
#define LAUNCHES_COPIES_AHEAD 2u

typedef struct launches {
	const schedule_demand *demands;  /* in the order of schedule_layer */
	uint32_t together;               /* misses of one copy, >= 1 */
	uint32_t resident, resident_end; /* residents that are not launched yet */
	uint32_t streamed,
		streamed_end; /* misses that are not launched yet; from the end on they are the CPU's */
	uint32_t started; /* misses before this one have a slot */
	uint32_t end;     /* of all demands */
	bool full;        /* a start found too few slots: a launch must free some */
} launches;

launches launches_of(const schedule_demand *demands, schedule_plan plan, uint32_t together);

typedef enum launch_kind {
	LAUNCH_START,     /* give these misses a slot, start one copy of them */
	LAUNCH_RESIDENTS, /* launch these residents */
	LAUNCH_STREAMED,  /* launch these misses, which were started */
	LAUNCH_STUCK,     /* no slot for the next miss, and nothing to launch that would free one */
	LAUNCH_DONE,      /* nothing is left that the CPU has not taken */
} launch_kind;

typedef struct launch_step {
	launch_kind kind;
	uint32_t first, n; /* demands */
} launch_step;

/* What comes next. */
launch_step launches_next(const launches *l);
/* What comes next if nothing is started: a launch, or LAUNCH_DONE. */
launch_step launches_next_launch(const launches *l);

/* A start got a slot for `got` of the misses it named, in order. */
void launches_started(launches *l, const launch_step *start, uint32_t got);
/* Residents or misses were launched. */
void launches_launched(launches *l, const launch_step *launch);

/* Misses that are neither started nor taken. */
uint32_t launches_left(const launches *l);
/* The CPU takes the last of them, of which there must be one; gives its index. */
uint32_t launches_take(launches *l);
/* How many the CPU has taken: the last ones. */
uint32_t launches_taken(const launches *l);

#endif
