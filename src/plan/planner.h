/* SPDX-License-Identifier: MIT */
/* What every budget of a plan shares: routing that is made or read once, and the engine's division. */
#ifndef UFM_PLAN_PLANNER_H
#define UFM_PLAN_PLANNER_H

#include "plan/point.h"

typedef struct planner_config {
	const plan_shape *shape;
	const plan_machine *machine; /* finished */
	const char *workload;        /* as plan_routing_check; a trace is read */
	uint64_t seed;
	const ufm_policy *policy;
	uint64_t headroom_bytes;
	uint32_t batch, prompt;
	uint32_t ring, max_tokens; /* 0: as the engine chooses; all of a prefill */
	bool given;                /* the caller brings the ids */
} planner_config;

/* Points into itself and into what its configuration points to. */
typedef struct planner {
	division division;
	trace decode_routing, prefill_routing;
	point_config point;
	bool repeats; /* the routing is shorter than what is walked, and read more than once */
} planner;

/* UFM_EINVAL: batch and prompt make more than a few minutes of planning. Names begin with `dashes` in its line. */
ufm_status planner_check(const planner_config *config, const char *dashes);

/* Without any routing yet: the division alone. */
void planner_begin(const planner_config *config, planner *p);
/* What points need besides. UFM_EFILE, UFM_EFORMAT, UFM_EINVAL: the routing; UFM_ENOMEM. On failure it is closed. */
ufm_status planner_route(const planner_config *config, planner *p);
void planner_close(planner *p); /* a zeroed one is allowed */

#endif
