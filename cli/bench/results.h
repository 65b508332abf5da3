/* SPDX-License-Identifier: MIT */
/*
 * The results folder: runs.jsonl written row by row, telemetry files beside it, what sums them up at the end. Once a
 * write has failed nothing more is written.
 *
 * No row is lost to a run that has none: earlier results of a folder stand until results_keep, and the new rows beside
 * them, under another name.
 */
#ifndef CLI_BENCH_RESULTS_H
#define CLI_BENCH_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <ufm/ufm.h>

typedef struct results results;

/* Makes the folder and its parents. NULL: results/TIME, one of its own. UFM_EFILE names the folder. */
ufm_status results_open(const char *folder, results **out);
/* Of earlier results and no results_keep the earlier stay, and ours go. NULL is allowed. */
void results_close(results *r);

const char *results_folder(const results *r);
/* "results/latest" once it is a link to the folder, else NULL. */
const char *results_latest(const results *r);

/* The rows that there are now count: they take the place of earlier ones, whose telemetry, figures and summary are
 * removed, and results/latest becomes a link to a folder by time. Does nothing the second time. */
ufm_status results_keep(results *r);
/* false: the folder's results are still those of another run. */
bool results_are_ours(const results *r);

/* "FOLDER/telemetry_MODE_EXPERTS.csv" or "…_MODE_PHASE_EXPERTS.csv", of a row's label, with an ending more while
 * earlier results stand; valid until the next call. */
const char *results_telemetry_path(results *r, const char *label, unsigned experts);

ufm_status results_add(results *r, const json_t *row);
/* A file of the folder, whole or not there. */
ufm_status results_put(results *r, const char *name, const char *text, size_t length);

#endif
