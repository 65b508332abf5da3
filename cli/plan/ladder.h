/* SPDX-License-Identifier: MIT */
/* Points of several budgets, and where between them something else begins to bind. */
#ifndef CLI_PLAN_LADDER_H
#define CLI_PLAN_LADDER_H

#include "cli/plan/budgets.h"
#include "cli/plan/point.h"

/* From a budget on, decode is bound by another thing. */
typedef struct ladder_change {
	uint64_t target_bytes; /* the smallest found, to within the steps of a search */
	timing_bound bound;
} ladder_change;

#define LADDER_CHANGES_MAX 64u

typedef struct plan_ladder {
	uint32_t count, change_count;
	plan_point points[BUDGETS_MAX];
	ladder_change changes[LADDER_CHANGES_MAX]; /* ascending; also beyond the largest of the list */
} plan_ladder;

/* Progress is told on the way. */
ufm_status ladder_open(const point_config *config, const budget_list *budgets, plan_ladder *out);

#endif
