/* SPDX-License-Identifier: MIT */
/* JSON as text, in one piece: jansson's own printing to a stream goes on after a write that failed. */
#ifndef CLI_JSON_PRINT_H
#define CLI_JSON_PRINT_H

#include <jansson.h>
#include <stdio.h>
#include <ufm/ufm.h>

/* With an end of line; alloc_free. NULL where memory lacked now or before: the status is recorded. */
char *json_as_text(const json_t *value, size_t flags, size_t *length);
/* Writes it by one call. UFM_ENOMEM: nothing was written. What the stream says is the caller's to ask. */
ufm_status json_print(FILE *to, const json_t *value, size_t flags);

/* A row on one line, and everything on many. */
#define JSON_PRINT_LINE (JSON_COMPACT | JSON_REAL_PRECISION(9))
#define JSON_PRINT_PAGE (JSON_INDENT(2) | JSON_REAL_PRECISION(9))

#endif
