/* SPDX-License-Identifier: MIT */
/* The results folder: runs.jsonl written row by row, telemetry files beside it, summary.json at the
 * end. Once a write has failed nothing more is written. */
#ifndef CLI_BENCH_RESULTS_H
#define CLI_BENCH_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <ufm/ufm.h>

typedef struct results results;

/* Makes the folder and its parents, and replaces earlier results. UFM_EFILE names the folder. */
ufm_status results_open(const char *folder, results **out);
void results_close(results *r); /* NULL is allowed */

/* "FOLDER/telemetry_MODE_EXPERTS.csv" or "…_MODE_PHASE_EXPERTS.csv", of a row's label; valid until the next
 * call. */
const char *results_telemetry_path(results *r, const char *label, unsigned experts);

ufm_status results_add(results *r, const json_t *row);
/* Written beside and renamed, so that a summary is whole or not there. */
ufm_status results_summary(results *r, const json_t *summary);

#endif
