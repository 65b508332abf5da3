/* SPDX-License-Identifier: MIT */
/* Cells are kept until all are known, because the widest of a column sets its width. */
#include "cli/text_table.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/columns.h"
#include "cli/json_memory.h"

#define CUT_COLUMNS_MIN 8u

bool text_table_open(text_table *t, const text_column *columns, uint32_t column_count,
                     uint32_t row_count)
{
	assert(column_count <= TEXT_COLUMNS_MAX);
	*t = (text_table){.columns = columns, .column_count = column_count, .row_count = row_count};
	if (row_count)
		t->cells = alloc_zeroed((size_t)row_count * column_count, sizeof *t->cells);
	if (!t->cells && row_count)
		json_memory_lose();
	return t->cells || row_count == 0;
}

void text_table_close(text_table *t)
{
	alloc_free(t->cells);
	*t = (text_table){0};
}

static char *cell(const text_table *t, uint32_t row, uint32_t column)
{
	return t->cells[(size_t)row * t->column_count + column];
}

void text_cell(text_table *t, uint32_t row, uint32_t column, const char *format, ...)
{
	char text[4 * TEXT_CELL_BYTES];
	va_list args;
	if (!t->cells)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	/* Not within a character: none is longer than its bytes allow. */
	for (uint32_t columns = TEXT_CELL_BYTES - 1; strlen(text) >= TEXT_CELL_BYTES; columns--)
		columns_fit(text, columns);
	memcpy(cell(t, row, column), text, strlen(text) + 1);
}

/* ---- what has room */

/* Of what is printed. 0: the column is left out. */
typedef struct layout {
	uint32_t width[TEXT_COLUMNS_MAX];
} layout;

static uint32_t width_of(const text_table *t, uint32_t column)
{
	uint32_t widest = columns_of(t->columns[column].title);
	for (uint32_t row = 0; row < t->row_count; row++) {
		uint32_t width = columns_of(cell(t, row, column));
		widest = width > widest ? width : widest;
	}
	return widest;
}

static bool is_same(const text_table *t, uint32_t column)
{
	for (uint32_t row = 1; row < t->row_count; row++)
		if (strcmp(cell(t, 0, column), cell(t, row, column)) != 0)
			return false;
	return true;
}

static uint32_t line_width(const text_table *t, const layout *l)
{
	uint32_t width = 1;
	for (uint32_t column = 0; column < t->column_count; column++)
		width += l->width[column] ? l->width[column] + 3 : 0;
	return width;
}

static uint32_t rank_of(const text_table *t, uint32_t column)
{
	uint32_t rank = t->columns[column].rank;
	return rank == TEXT_KEY && !is_same(t, column) ? TEXT_ALWAYS : rank;
}

/* The next to be tried after one of that rank and place; column_count: there is none. */
static uint32_t next_missed(const text_table *t, uint32_t after)
{
	uint32_t found = t->column_count;
	for (uint32_t column = 0; column < t->column_count; column++) {
		bool tried = after < t->column_count &&
		             (rank_of(t, column) < rank_of(t, after) ||
		              (rank_of(t, column) == rank_of(t, after) && column <= after));
		if (!tried && (found == t->column_count || rank_of(t, column) < rank_of(t, found)))
			found = column;
	}
	return found;
}

static uint32_t widest_text(const text_table *t, const layout *l)
{
	uint32_t found = t->column_count, widest = CUT_COLUMNS_MIN;
	for (uint32_t column = 0; column < t->column_count; column++)
		if (t->columns[column].left && l->width[column] > widest) {
			found = column;
			widest = l->width[column];
		}
	return found;
}

/* From what is missed most on, whatever still fits. */
static void make_layout(const text_table *t, uint32_t columns, layout *l)
{
	uint32_t at = t->column_count;
	*l = (layout){{0}};
	while ((at = next_missed(t, at)) < t->column_count) {
		l->width[at] = width_of(t, at);
		if (rank_of(t, at) != TEXT_ALWAYS && line_width(t, l) > columns)
			l->width[at] = 0;
	}
	while (line_width(t, l) > columns && (at = widest_text(t, l)) < t->column_count)
		l->width[at]--;
}

/* ---- printing */

static void print_spaces(FILE *to, uint32_t count)
{
	fprintf(to, "%*s", (int)count, "");
}

static void print_cell(FILE *to, const char *text, uint32_t width, bool left)
{
	char shown[TEXT_CELL_BYTES];
	bool cut = columns_of(text) > width;
	snprintf(shown, sizeof shown, "%s", text);
	if (cut)
		columns_fit(shown, width - 1);
	uint32_t space = width - columns_of(shown) - cut;
	fputs("| ", to);
	print_spaces(to, left ? 0 : space);
	fprintf(to, "%s%s", shown, cut ? "…" : "");
	print_spaces(to, (left ? space : 0) + 1);
}

static void print_rule(FILE *to, const text_table *t, const layout *l)
{
	for (uint32_t column = 0; column < t->column_count; column++) {
		if (!l->width[column])
			continue;
		fputs("|-", to);
		for (uint32_t j = l->width[column]; j > 0; j--)
			fputc('-', to);
		fputc(t->columns[column].left ? '-' : ':', to);
	}
	fputs("|\n", to);
}

/* `row` row_count: the titles. */
static void print_line(FILE *to, const text_table *t, const layout *l, uint32_t row)
{
	for (uint32_t column = 0; column < t->column_count; column++) {
		const text_column *c = &t->columns[column];
		const char *text = row == t->row_count ? c->title : cell(t, row, column);
		if (l->width[column])
			print_cell(to, text, l->width[column], c->left);
	}
	fputs("|\n", to);
}

/* What says which rows they are is told here where it is the same for all. */
static void print_left_out(sheet *s, const text_table *t, const layout *l)
{
	const char *before = "\nWith --wide also: ";
	for (uint32_t column = 0; column < t->column_count; column++) {
		const text_column *c = &t->columns[column];
		bool said = c->rank == TEXT_KEY && t->row_count;
		if (l->width[column])
			continue;
		sheet_print(s, "%s%s%s", before, c->title, said ? " " : "");
		sheet_text(s, said ? cell(t, 0, column) : "");
		before = ", ";
	}
	if (*before == ',')
		sheet_print(s, ".\n");
}

void text_table_print(sheet *s, const text_table *t)
{
	layout l;
	if (!t->cells && t->row_count)
		return;
	make_layout(t, s->wide ? UINT32_MAX : s->columns, &l);
	print_line(s->to, t, &l, t->row_count);
	print_rule(s->to, t, &l);
	for (uint32_t row = 0; row < t->row_count; row++)
		print_line(s->to, t, &l, row);
	print_left_out(s, t, &l);
}
