/* SPDX-License-Identifier: MIT */
/* Rows that earlier runs of `ufm bench` left. */
#ifndef CLI_PLAN_ROW_FILE_H
#define CLI_PLAN_ROW_FILE_H

#include <jansson.h>
#include <ufm/ufm.h>

/* The rows of a runs.jsonl, or those in a summary.json. UFM_EFILE, UFM_EFORMAT name file and row. */
ufm_status row_file_read(const char *path, json_t **out);

#endif
