/* SPDX-License-Identifier: MIT */
/* Rows that earlier runs of `ufm bench` left. */
#ifndef CLI_PLAN_ROW_FILE_H
#define CLI_PLAN_ROW_FILE_H

#include <jansson.h>
#include <ufm/ufm.h>

typedef struct row_file {
	json_t *rows;
	unsigned *lines; /* where each lies; NULL: all lie in one document */
} row_file;

#define ROW_PLACE_BYTES 32

/* The rows of a runs.jsonl, or those in a summary.json. UFM_EFILE, UFM_EFORMAT name file and place. */
ufm_status row_file_read(const char *path, row_file *out);
void row_file_close(row_file *f);
/* "line 3", or "row 3" of a document. */
const char *row_file_place(const row_file *f, size_t row, char place[ROW_PLACE_BYTES]);

#endif
