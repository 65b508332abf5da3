/* SPDX-License-Identifier: MIT */
/* What `ufm bench` prints on standard output, and leaves beside its rows at the end. */
#ifndef CLI_BENCH_REPORT_H
#define CLI_BENCH_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "cli/bench/config.h"
#include "cli/bench/results.h"
#include "cli/rows.h"
#include "cli/sheet.h"

/* As soon as a row is known: prints it in the format jsonl, nothing in the others. */
void report_row(FILE *to, rows_format format, const json_t *row);
/* At the end: everything in the other formats. `summary` as in summary.json. */
void report_end(sheet *to, rows_format format, const json_t *summary);

/* summary.json, and as table.md what report_markdown prints. UFM_EFILE, UFM_ENOMEM. */
ufm_status report_keep(results *r, const json_t *summary);

/* A table for people, with a caption that names an emulated link and the whole configuration. */
void report_markdown(sheet *to, const json_t *summary);

#endif
