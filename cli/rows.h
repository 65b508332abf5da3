/* SPDX-License-Identifier: MIT */
/* Rows, flat JSON objects with the same fields, on standard output and in files. */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include <jansson.h>
#include <stdio.h>

/* In the order of the option's choices. */
#define ROWS_CHOICES "md|csv|json|jsonl"
typedef enum rows_format { ROWS_MD, ROWS_CSV, ROWS_JSON, ROWS_JSONL } rows_format;

/* One line, by one write of the stream, flushed. Where memory lacked for the row there is none, and the command fails
 * at its end (json_memory.h). */
void rows_write_line(FILE *to, const json_t *row);
/* An array of rows as csv, json or jsonl; as md it is the command's own affair. In csv items of a list are
 * separated by spaces, what has fields of its own in any row is left out, and null is empty. */
void rows_write(FILE *to, rows_format format, const json_t *rows);

#endif
