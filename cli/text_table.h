/* SPDX-License-Identifier: MIT */
/* A Markdown table whose columns are aligned. */
#ifndef CLI_TEXT_TABLE_H
#define CLI_TEXT_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_CELL_BYTES 48

typedef struct text_column {
	const char *title;
	bool left; /* else right-aligned */
} text_column;

typedef struct text_table {
	const text_column *columns; /* the caller's */
	uint32_t column_count, row_count;
	char (*cells)[TEXT_CELL_BYTES]; /* [row_count][column_count], empty at first */
} text_table;

/* false: no memory; then printing prints nothing. */
bool text_table_open(text_table *t, const text_column *columns, uint32_t column_count,
                     uint32_t row_count);
void text_table_close(text_table *t);

/* Longer text is cut. */
void text_cell(text_table *t, uint32_t row, uint32_t column, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void text_table_print(FILE *to, const text_table *t);

#endif
