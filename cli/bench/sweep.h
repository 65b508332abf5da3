/* SPDX-License-Identifier: MIT */
/* Every mode with every number of experts in every phase: what a sweep needs, its runs, and what is kept of them. */
#ifndef CLI_BENCH_SWEEP_H
#define CLI_BENCH_SWEEP_H

#include <jansson.h>

#include "cli/bench/config.h"
#include "cli/bench/results.h"
#include "cli/bench/row.h"
#include "cli/bench/tier.h"
#include "cli/bench/workload.h"
#include "cli/modes/options.h"
#include "telemetry/timeline_file.h"

typedef struct sweep_phase {
	bench_config config;
	workload *load;
	/* The step from which ufm measured with the number of experts that is on; 1: it has not. */
	uint32_t begins;
} sweep_phase;

typedef struct sweep {
	bench_config config;
	option_state state;
	sweep_phase phases[PHASE_COUNT]; /* [config.phases.count] */
	bench_tier tier;
	peak_found peak;
	uint32_t number;     /* of the run, from 1 */
	const char *backend; /* what --backend came to */
	timeline_file *timeline;
	/* What a signal keeps: changed with interrupt_guard. */
	results *results; /* NULL: none asked for */
	json_t *summary, *rows;
	bench_row so_far;                /* of the run that is on */
	const sweep_phase *so_far_phase; /* NULL: none is on */
	bool finished;                   /* the summary is written */
	int exit_code;
} sweep;

/* The first failure is the command's. */
static inline int sweep_first_of(int exit_code, int next)
{
	return exit_code ? exit_code : next;
}

/* CLI_OK, or why the sweep cannot begin. sweep_close in either case. */
int sweep_open(sweep *s);
void sweep_close(sweep *s);

/* Every run, until one cannot be kept or a signal comes. */
void sweep_run(sweep *s);

/* With the guard. A row that was cut off before anything was measured takes the place of no earlier one. */
ufm_status sweep_add_row(sweep *s, const bench_row *row, json_t *json);
/* A result that cannot be written ends the sweep, said once. */
bool sweep_output_lost(sweep *s, ufm_status status);
/* After the last row: the file may have been on a disk that is full. */
void sweep_finish_timeline(sweep *s);
/* Summary, table, figures. */
void sweep_finish(sweep *s);
/* Of a sweep that a signal ends, on the thread that ends the process. */
void sweep_keep_all(void *ctx);

#endif
