/* SPDX-License-Identifier: MIT */
/* Points of several budgets, and where between them something else begins to bind. */
#ifndef UFM_PLAN_LADDER_H
#define UFM_PLAN_LADDER_H

#include "plan/point.h"

/* From a budget on, decode is bound by another thing. */
typedef struct ladder_change {
	uint64_t target_bytes; /* the smallest found, to within the steps of a search */
	timing_bound bound;
} ladder_change;

#define LADDER_POINTS_MAX 64u
#define LADDER_CHANGES_MAX 64u

typedef struct budget_list {
	uint32_t count;
	uint64_t target_bytes[LADDER_POINTS_MAX]; /* ascending where they were chosen, else as listed */
} budget_list;

/* Whoever waits. */
typedef struct ladder_watch {
	/* NULL, or told how many of the points are done; all: what is left is to find changes */
	void (*progress)(void *ctx, uint32_t done, uint32_t total);
	void *progress_ctx;
	/* NULL, or asked before each walk: anything but 0 ends it with UFM_ECANCELED */
	int (*stop)(void *ctx);
	void *stop_ctx;
} ladder_watch;

typedef struct plan_ladder {
	uint32_t count, change_count;
	plan_point points[LADDER_POINTS_MAX];
	ladder_change changes[LADDER_CHANGES_MAX]; /* ascending; also beyond the largest of the list */
} plan_ladder;

/* Points without changes: out[i] of target_bytes[i]. */
ufm_status ladder_points(const point_config *config, const uint64_t *target_bytes, uint32_t count,
                         const ladder_watch *watch, plan_point *out);
ufm_status ladder_open(const point_config *config, const budget_list *budgets,
                       const ladder_watch *watch, plan_ladder *out);

#endif
