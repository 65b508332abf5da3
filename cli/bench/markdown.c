/* SPDX-License-Identifier: MIT */
/* Rows for people: one table whose columns are aligned, one caption. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "cli/bench/report.h"
#include "cli/json_field.h"
#include "cli/options_markdown.h"

static double gib(const json_t *row, const char *name)
{
	return (double)field_whole(row, name) / (1u << 30);
}

static double gb(const json_t *row, const char *name)
{
	return (double)field_whole(row, name) / 1e9;
}

/* As a row's label. */
static const char *label(const json_t *row, char *text, size_t size)
{
	const char *phase = field_string(row, "phase");
	bool plain = strcmp(phase, "steps") == 0;
	snprintf(text, size, "%s%s%s", field_string(row, "mode"), plain ? "" : " ", plain ? "" : phase);
	return text;
}

/* The first row that has a value; NULL if none has. */
static const json_t *row_with(const json_t *rows, const char *name)
{
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		if (field_known(row, name))
			return row;
	}
	return NULL;
}

/* ---- the table */

#define COLUMNS 17
#define CELL_BYTES 40
typedef struct line {
	char cells[COLUMNS][CELL_BYTES];
} line;

static const struct {
	const char *title;
	bool left; /* else right-aligned */
} columns[COLUMNS] = {
	{"mode", true},      {"experts", false},         {"bank GiB", false},
	{"status", true},    {"tokens/s", false},        {"step ms", false},
	{"of floor", false}, {"bound by", true},         {"peak device GiB", false},
	{"slots", false},    {"experts touched", false}, {"resident", false},
	{"streamed", false}, {"to device GB", false},    {"back GB", false},
	{"stall ms", false}, {"output", true},
};

static void cell(line *l, int column, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void cell(line *l, int column, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(l->cells[column], CELL_BYTES, format, args);
	va_end(args);
}

static void title_line(line *l, bool emulated)
{
	for (int i = 0; i < COLUMNS; i++)
		cell(l, i, "%s", columns[i].title);
	if (emulated)
		cell(l, 4, "tokens/s (emulated link)");
}

static void measured_cells(line *l, const json_t *row)
{
	double tokens_per_s = field_number(row, "tokens_per_s");
	cell(l, 4, "%.*f", tokens_per_s < 100 ? 2 : 0, tokens_per_s);
	cell(l, 5, "%.1f", field_number(row, "step_ms_median"));
	if (field_known(row, "fraction_of_floor")) {
		cell(l, 6, "%.3f", field_number(row, "fraction_of_floor"));
		cell(l, 7, "%s", field_string(row, "bound_by"));
	}
	cell(l, 8, "%.3f", gib(row, "peak_vram_bytes"));
	cell(l, 9, "%" PRIu64, field_whole(row, "slots"));
	if (field_known(row, "experts_touched_expected"))
		cell(l, 10, "%.1f (%.1f expected)", field_number(row, "experts_touched"),
		     field_number(row, "experts_touched_expected"));
	else
		cell(l, 10, "%.1f", field_number(row, "experts_touched"));
	cell(l, 11, "%" PRIu64, field_whole(row, "resident_uses"));
	cell(l, 12, "%" PRIu64, field_whole(row, "streamed_uses"));
	cell(l, 13, "%.2f", gb(row, "h2d_weight_bytes"));
	cell(l, 14, "%.2f", gb(row, "d2h_weight_bytes"));
	cell(l, 15, "%.0f", field_number(row, "stall_ms"));
	cell(l, 16, "%.8s", field_string(row, "output_hash"));
}

static void row_line(line *l, const json_t *row)
{
	label(row, l->cells[0], CELL_BYTES);
	cell(l, 1, "%" PRIu64, field_whole(row, "num_experts"));
	cell(l, 2, "%.2f", gib(row, "bank_bytes"));
	cell(l, 3, "%s", field_string(row, "status"));
	if (field_known(row, "tokens_per_s"))
		measured_cells(l, row);
}

static void print_line(FILE *to, const line *l, const int widths[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++)
		fprintf(to, columns[i].left ? "| %-*s " : "| %*s ", widths[i], l->cells[i]);
	fputs("|\n", to);
}

static void print_rule(FILE *to, const int widths[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++) {
		fputs("|-", to);
		for (int j = 0; j < widths[i]; j++)
			fputc('-', to);
		fputc(columns[i].left ? '-' : ':', to);
	}
	fputs("|\n", to);
}

static void table(FILE *to, const json_t *rows, bool emulated)
{
	size_t count = json_array_size(rows) + 1;
	int widths[COLUMNS] = {0};
	line *lines = alloc_zeroed(count, sizeof *lines);
	if (!lines)
		return;
	title_line(&lines[0], emulated);
	for (size_t i = 1; i < count; i++)
		row_line(&lines[i], json_array_get(rows, i - 1));
	for (size_t i = 0; i < count; i++)
		for (int j = 0; j < COLUMNS; j++) {
			int length = (int)strlen(lines[i].cells[j]);
			widths[j] = length > widths[j] ? length : widths[j];
		}
	print_line(to, &lines[0], widths);
	print_rule(to, widths);
	for (size_t i = 1; i < count; i++)
		print_line(to, &lines[i], widths);
	alloc_free(lines);
}

/* ---- what stands around it */

static void errors(FILE *to, const json_t *rows)
{
	size_t i;
	json_t *row;
	bool first = true;
	char text[CELL_BYTES];
	json_array_foreach(rows, i, row)
	{
		if (!field_known(row, "error"))
			continue;
		fprintf(to, "%s- %s, %" PRIu64 " experts: %s: %s\n", first ? "\n" : "",
		        label(row, text, sizeof text), field_whole(row, "num_experts"),
		        field_string(row, "status"), field_string(row, "error"));
		first = false;
	}
}

static void where(FILE *to, const json_t *rows)
{
	/* A row that ran out of memory may not know its device. */
	const json_t *row = row_with(rows, "device");
	if (!row)
		row = row_with(rows, "backend");
	if (!row)
		return;
	char target[32], headroom[32], limit[32];
	fprintf(to, "\nBackend %s, device %s.", field_string(row, "backend"),
	        field_string(row, "device"));
	fprintf(to, " Bounds: ufm %s less %s of headroom;",
	        size_format(field_whole(row, "vram_target_bytes"), target, sizeof target),
	        size_format(field_whole(row, "headroom_bytes"), headroom, sizeof headroom));
	if (field_known(row, "vram_limit_bytes"))
		fprintf(to, " the card, in all modes, %s.",
		        size_format(field_whole(row, "vram_limit_bytes"), limit, sizeof limit));
	else
		fprintf(to, " the card has its own memory.");
	fprintf(to,
	        " Uses, GB and stall are sums over %" PRIu64
	        " measured steps; tokens/s and step ms are the median step's.\n",
	        field_whole(row, "steps"));
}

void report_markdown(FILE *to, const json_t *summary)
{
	const json_t *rows = json_object_get(summary, "rows");
	const json_t *link = row_with(rows, "link_gbps_emulated");
	if (link)
		fprintf(to, "Emulated link: %g GB/s each way; no figure below is that of a real link.\n\n",
		        field_number(link, "link_gbps_emulated"));
	table(to, rows, link != NULL);
	errors(to, rows);
	where(to, rows);
	options_markdown(to, &bench_options, json_object_get(summary, "config"));
}
