/* SPDX-License-Identifier: MIT */
/* How an engine would divide a budget for a shape on a machine: its own arithmetic (budget/budget.h), without a
 * device. */
#ifndef UFM_PLAN_DIVISION_H
#define UFM_PLAN_DIVISION_H

#include "budget/budget.h"
#include "plan/machine.h"
#include "plan/shape.h"

typedef struct division_config {
	const plan_shape *shape;
	uint64_t granularity_bytes, headroom_bytes;
	uint32_t tokens;     /* the most of a call */
	uint32_t max_tokens; /* of the workspace; 0: all of them */
	uint32_t ring;       /* 0: what suits the blocks */
	bool given;          /* the caller brings the ids: layers hold no router */
} division_config;

/* An engine's terms; terms.config points into it, so it stays where it is. */
typedef struct division {
	ufm_engine_config engine;
	budget_terms terms;
} division;

void division_open(const division_config *config, division *out);
/* UFM_EBUDGET: too small, with what is needed; UFM_EINVAL: the ring. */
ufm_status division_of(const division *d, uint64_t target_bytes, budget *out);
/* The smallest target that runs, and the one that gives so many slots. */
uint64_t division_target_min(const division *d);
uint64_t division_target(const division *d, uint32_t slots);
/* Host memory that stays page-locked: the bank, and rows of calls that the workspace does not hold. */
uint64_t division_host_bytes(const division *d);

#endif
