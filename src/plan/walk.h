/* SPDX-License-Identifier: MIT */
/* Recorded or made routing through the policy, cache and schedule of production, each layer call with its time. */
#ifndef UFM_PLAN_WALK_H
#define UFM_PLAN_WALK_H

#include <ufm/policy.h>

#include "budget/budget.h"
#include "plan/timing.h"
#include "trace/trace.h"

typedef struct walk walk;

typedef struct walk_config {
	const ufm_policy *policy;
	const budget *division;
	const timing_terms *timing; /* as long as the walk lives */
	uint32_t layers, experts, d_model, top_k;
	bool preload; /* a bank that fits is loaded ahead, as ufm bench does before a warm-up */
} walk_config;

/* UFM_ENOMEM; UFM_EINVAL. */
ufm_status walk_open(const walk_config *config, walk **out);
void walk_close(walk *w); /* NULL is allowed */

typedef struct walk_phase {
	const trace *routing; /* has the model's layers and top k, or more layers */
	uint32_t tokens;      /* a step */
	bool
		side_by_side; /* each of them belongs to a sequence of its own, as in decode; else they follow each other */
	uint32_t warmup, steps; /* not counted; counted */
	double *step_ns;        /* [steps]; NULL: not wanted */
} walk_phase;

typedef struct walk_result {
	uint64_t steps, uses, hits, streamed, on_cpu;
	uint64_t whole_calls;
	timing_step sum; /* of all counted steps */
} walk_result;

/* Of phases that are alike. */
void walk_result_add(walk_result *sum, const walk_result *result);

/* A phase on what the phase before left in the slots. Tokens that the routing lacks are read from its start again,
 * each pass one token later. */
ufm_status walk_run(walk *w, const walk_phase *phase, walk_result *out);

#endif
