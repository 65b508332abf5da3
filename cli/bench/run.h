/* SPDX-License-Identifier: MIT */
/* One run: a mode, a number of experts and a phase, from the bank to closing the engine. */
#ifndef CLI_BENCH_RUN_H
#define CLI_BENCH_RUN_H

#include "cli/bench/row.h"
#include "cli/bench/tier.h"
#include "cli/bench/workload.h"
#include "cli/modes/record.h"
#include "cli/modes/timeline.h"
#include "probe/peak.h"

typedef struct run_config {
	const bench_config *config; /* of the run's phase */
	workload *load;
	bench_tier *tier;           /* what it opens stays open for the next run */
	const char *backend;        /* by name, not "auto" */
	const char *telemetry_path; /* NULL: none */
	timeline_file *timeline;    /* NULL: none */
	double link_gbps;           /* 0: off */
	const peak_found *peak;     /* of the machine; NULL: not asked */
	uint32_t begins;            /* as warmup_of takes it */
	uint32_t number, runs;      /* for the progress line */
	bench_row *so_far; /* a copy of the row when its engine is open and after each step, under
	                             * interrupt_guard */
} run_config;

/* Fills a row that row_open prepared. What goes wrong in the run ends in the row; the status is
 * that of the files of telemetry, timeline and trace alone; when the first could not be created there was
 * no run. */
ufm_status run_bench(const run_config *config, bench_row *row);

#endif
