/* SPDX-License-Identifier: MIT */
/* A plan for programs and for people. */
#ifndef CLI_PLAN_REPORT_H
#define CLI_PLAN_REPORT_H

#include <jansson.h>

#include "cli/plan/config.h"
#include "cli/plan/machine.h"
#include "cli/sheet.h"
#include "plan/ladder.h"
#include "plan/planner.h"

typedef struct plan_report {
	const plan_config *config;
	const plan_shape *shape;
	const told_machine *machine;
	const planner *planner;
	const plan_ladder *ladder;
	const char *policy;
	char workload[512]; /* for people */
	uint64_t host_bytes;
	uint32_t budget_shift; /* report_budget_shift of the ladder */
} plan_report;

/* For size_format_in: so that different budgets look different. */
uint32_t report_budget_shift(const plan_ladder *l);

/* One flat object a budget. */
json_t *report_rows(const plan_report *r);
/* What was assumed, a table, what binds and what would help. */
void report_plan(sheet *to, const plan_report *r);

/* plan.dat, plan.gp and what gnuplot makes of them; UFM_EUNSUPPORTED without gnuplot. */
ufm_status report_figure(const plan_report *r, const char *folder);

/* What a prefetcher could save of a decode step, at best, in nanoseconds: with `recall` of the misses among `guesses`
 * loads a layer. Loads that do not fit the time in which the link idles are not made. */
double report_prefetch_ns(const point_way *way, uint32_t layers, double miss_ns, double recall,
                          double guesses);

#endif
