/* SPDX-License-Identifier: MIT */
/* Which tokens are stepped together, and what they demand of a layer. */
#ifndef UFM_REPLAY_LANES_H
#define UFM_REPLAY_LANES_H

#include "cache/cache.h"
#include "replay/replay.h"

typedef struct lane {
	uint64_t at, end; /* tokens */
} lane;

typedef struct lanes {
	const trace *trace;
	uint32_t part, parts;
	uint32_t next;          /* sequence that a lane takes next */
	uint32_t count, active; /* lanes; those that have a token, in their order at the front */
	bool cut;               /* runs of equal length, not sequences */
	bool started, begins;   /* a lane begins a sequence with this step */
	lane *lanes;            /* [count] */
	uint32_t *seen;         /* [experts]; number of the last event that demanded it, from 1 */
	uint32_t *member;       /* [experts]; its place in that event */
	uint32_t event;
	cache_member *members; /* [members_max] */
	uint32_t members_max;
} lanes;

/* Before the first step. UFM_EINVAL: the part has no token; UFM_ENOMEM. */
ufm_status lanes_open(const replay_config *config, lanes *out);
void lanes_close(lanes *l); /* a zeroed one is allowed */

/* The next step; false: there is none. */
bool lanes_step(lanes *l);
/* How many steps a run counts. As lanes_open. */
ufm_status lanes_count(const replay_config *config, uint64_t *counted);
/* The members of a layer's event in this step, in lanes->members; returns how many. next_event is
 * UFM_NEVER. */
uint32_t lanes_members(lanes *l, uint32_t layer);

#endif
