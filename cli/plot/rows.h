/* SPDX-License-Identifier: MIT */
/* The rows of a results folder, as figures need them. */
#ifndef CLI_PLOT_ROWS_H
#define CLI_PLOT_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/ufm.h>

#include "cli/plot/machine.h"
#include "cli/plot/telemetry.h"

#define PLOT_ROWS_MAX 1024
#define PLOT_MODES_MAX 12

typedef struct plot_row {
	uint32_t mode; /* index in plot_rows.modes */
	uint32_t experts;
	bool ok, oom;
	double tokens_per_s;                         /* 0: not measured */
	double slow_tokens_per_s, fast_tokens_per_s; /* at the quartiles of its steps */
	uint32_t steps;                              /* that were measured; 0: the row does not say */
	uint64_t bank_bytes, peak_vram_bytes;
	plot_telemetry telemetry;
} plot_row;

typedef struct plot_rows {
	char modes[PLOT_MODES_MAX][32]; /* "ufm", or with a phase "ufm_decode" */
	uint32_t mode_count, count;
	plot_row *rows;                   /* by mode in order of appearance, then by experts */
	uint32_t steps_min, steps_max;    /* measured of a row that ended well; 0: not known */
	char machine[PLOT_MACHINE_BYTES]; /* "": not known */
	/* Of the first row that knows them. */
	char backend[64], device[128];
	double link_gbps; /* emulated; 0: a real link */
	uint64_t target_bytes, limit_bytes;
} plot_rows;

/* A last line that was cut short is left out with a warning. UFM_EFILE, UFM_EFORMAT name file and
 * line; UFM_ENOMEM. */
ufm_status plot_rows_read(const char *folder, plot_rows *out);
void plot_rows_free(plot_rows *rows);

/* The different numbers of experts, ascending; returns how many. */
uint32_t plot_rows_experts(const plot_rows *rows, uint32_t experts[PLOT_ROWS_MAX]);
/* Whatever the phase. */
bool plot_rows_is_mode(const plot_rows *rows, uint32_t index, const char *mode);
bool plot_rows_have_mode(const plot_rows *rows, const char *mode);

#endif
