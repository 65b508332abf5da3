/* SPDX-License-Identifier: MIT */
/* A Markdown table whose columns are aligned. */
#ifndef CLI_TEXT_TABLE_H
#define CLI_TEXT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/sheet.h"

#define TEXT_CELL_BYTES 64

/* Where a sheet has no room for all columns, it has those that always stay and, from the lowest rank on, what else
 * fits. */
typedef enum text_rank {
	TEXT_ALWAYS = 0, /* 1 … 99: by how much they are missed */
	/* Says which row it is: always stays, but for where it is the same in every row; then it is missed least. */
	TEXT_KEY = 100,
} text_rank;

typedef struct text_column {
	const char *title;
	bool left; /* else right-aligned */
	uint32_t rank;
} text_column;

typedef struct text_table {
	const text_column *columns; /* the caller's */
	uint32_t column_count, row_count;
	char (*cells)[TEXT_CELL_BYTES]; /* [row_count][column_count], empty at first */
} text_table;

#define TEXT_COLUMNS_MAX 32

/* false: no memory; then printing prints nothing. */
bool text_table_open(text_table *t, const text_column *columns, uint32_t column_count,
                     uint32_t row_count);
void text_table_close(text_table *t);

/* Longer text is cut; control characters are shown as '?'. */
void text_cell(text_table *t, uint32_t row, uint32_t column, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Below a table that lacks columns stands which, with what was the same in every row. Cuts texts of left-aligned
 * columns where what always stays is too wide. */
void text_table_print(sheet *s, const text_table *t);

#endif
