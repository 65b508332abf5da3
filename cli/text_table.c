/* SPDX-License-Identifier: MIT */
/* Cells are kept until all are known, because the widest of a column sets its width. */
#include "cli/text_table.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"

bool text_table_open(text_table *t, const text_column *columns, uint32_t column_count,
                     uint32_t row_count)
{
	*t = (text_table){.columns = columns, .column_count = column_count, .row_count = row_count};
	if (row_count)
		t->cells = alloc_zeroed((size_t)row_count * column_count, sizeof *t->cells);
	return t->cells || row_count == 0;
}

void text_table_close(text_table *t)
{
	alloc_free(t->cells);
	*t = (text_table){0};
}

void text_cell(text_table *t, uint32_t row, uint32_t column, const char *format, ...)
{
	va_list args;
	if (!t->cells)
		return;
	va_start(args, format);
	vsnprintf(t->cells[(size_t)row * t->column_count + column], TEXT_CELL_BYTES, format, args);
	va_end(args);
}

static int width_of(const text_table *t, uint32_t column)
{
	size_t widest = strlen(t->columns[column].title);
	for (uint32_t row = 0; row < t->row_count; row++) {
		size_t length = strlen(t->cells[(size_t)row * t->column_count + column]);
		widest = length > widest ? length : widest;
	}
	return (int)widest;
}

static void print_cell(FILE *to, const text_table *t, uint32_t column, const char *text)
{
	fprintf(to, t->columns[column].left ? "| %-*s " : "| %*s ", width_of(t, column), text);
}

static void print_rule(FILE *to, const text_table *t)
{
	for (uint32_t column = 0; column < t->column_count; column++) {
		fputs("|-", to);
		for (int j = width_of(t, column); j > 0; j--)
			fputc('-', to);
		fputc(t->columns[column].left ? '-' : ':', to);
	}
	fputs("|\n", to);
}

void text_table_print(FILE *to, const text_table *t)
{
	if (!t->cells && t->row_count)
		return;
	for (uint32_t column = 0; column < t->column_count; column++)
		print_cell(to, t, column, t->columns[column].title);
	fputs("|\n", to);
	print_rule(to, t);
	for (uint32_t row = 0; row < t->row_count; row++) {
		for (uint32_t column = 0; column < t->column_count; column++)
			print_cell(to, t, column, t->cells[(size_t)row * t->column_count + column]);
		fputs("|\n", to);
	}
}
