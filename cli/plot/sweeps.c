/* SPDX-License-Identifier: MIT */
/* The figures over the number of experts: throughput, and peak device memory. */
#include <inttypes.h>
#include <math.h>

#include "cli/plot/figures.h"

#define GIB 1073741824.0
#define MARK_STEP 0.3 /* from a mark to the one beside it, of the margin of the axis */

/* Runs that did not end well have no value: their marks stand above the axes, a line for each kind. */
typedef struct marks {
	bool oom; /* otherwise errors */
	int point;
	const char *words;
} marks;

static const marks all_marks[] = {
	{.oom = true, .point = 2, .words = "out of memory"},
	{.oom = false, .point = 10, .words = "error"},
};
#define MARKS_COUNT (sizeof all_marks / sizeof all_marks[0])

static bool is_marked(const plot_row *row, const marks *kind)
{
	return !row->ok && row->oom == kind->oom;
}

/* Marks of the kind for as many experts as this row: among the rows before `end`. */
static uint32_t marks_beside(const plot_rows *rows, const marks *kind, const plot_row *row,
                             uint32_t end)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < end; i++)
		count += is_marked(&rows->rows[i], kind) && rows->rows[i].experts == row->experts;
	return count;
}

static bool any_marked(const plot_rows *rows, const marks *kind)
{
	for (uint32_t i = 0; i < rows->count; i++)
		if (is_marked(&rows->rows[i], kind))
			return true;
	return false;
}

static uint32_t count_bands(const plot_rows *rows)
{
	uint32_t bands = 0;
	for (size_t i = 0; i < MARKS_COUNT; i++)
		bands += any_marked(rows, &all_marks[i]);
	return bands;
}

/* In the mode's colour; those for as many experts side by side. */
static void draw_mark(FILE *to, const plot_rows *rows, const marks *kind, uint32_t at, double y)
{
	const plot_row *row = &rows->rows[at];
	double all = marks_beside(rows, kind, row, rows->count);
	double place = marks_beside(rows, kind, row, at) - (all - 1) / 2;
	fprintf(to, "set label '' at first %.9g, screen %.4f point lt %" PRIu32 " pt %d ps 2.5 lw 5\n",
	        row->experts + MARK_STEP * place * figure_experts_margin(rows), y,
	        figure_mode_look(rows, row->mode), kind->point);
}

static void draw_marks(FILE *to, const plot_rows *rows, uint32_t key_entries)
{
	uint32_t band = 0;
	for (size_t i = 0; i < MARKS_COUNT; i++) {
		const marks *kind = &all_marks[i];
		if (!any_marked(rows, kind))
			continue;
		double y = figure_band_y(key_entries, band++);
		fputs("set label ", to);
		figure_string(to, "%s", kind->words);
		fprintf(to, " at graph -0.015, screen %.4f right font ',15'\n", y);
		for (uint32_t j = 0; j < rows->count; j++)
			if (is_marked(&rows->rows[j], kind))
				draw_mark(to, rows, kind, j, y);
	}
}

static void mode_data(FILE *to, const plot_rows *rows, uint32_t mode, bool memory)
{
	figure_comment(to, "%s: experts, %s", rows->modes[mode],
	               memory ? "peak device memory in GiB"
	                      : "tokens/s, at the slower and the faster quartile of the steps");
	/* A block that would be empty keeps its place. */
	fputs(memory ? "NaN NaN\n" : "NaN NaN NaN NaN\n", to);
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		if (row->mode != mode || !row->ok)
			continue;
		if (memory)
			fprintf(to, "%" PRIu32 " %.9g\n", row->experts, (double)row->peak_vram_bytes / GIB);
		else
			fprintf(to, "%" PRIu32 " %.9g %.9g %.9g\n", row->experts, row->tokens_per_s,
			        row->slow_tokens_per_s, row->fast_tokens_per_s);
	}
	fputs("\n\n", to);
}

/* A block for each mode. */
static void sweep_data(FILE *to, const plot_rows *rows, bool memory)
{
	for (uint32_t mode = 0; mode < rows->mode_count; mode++)
		mode_data(to, rows, mode, memory);
}

static void throughput_data(FILE *to, const plot_rows *rows)
{
	sweep_data(to, rows, false);
}

static void memory_data(FILE *to, const plot_rows *rows)
{
	sweep_data(to, rows, true);
}

/* The bars before the lines, without a place of their own in the legend. */
static void plot_modes(FILE *to, const plot_rows *rows, const char *name, bool bars)
{
	fputs("plot ", to);
	for (uint32_t mode = 0; mode < rows->mode_count; mode++) {
		uint32_t look = figure_mode_look(rows, mode);
		fputs(mode ? ", \\\n     " : "", to);
		if (bars)
			fprintf(to,
			        "'%s.dat' index %" PRIu32 " using 1:2:3:4 with yerrorbars lt %" PRIu32
			        " ps 0 notitle, \\\n     ",
			        name, mode, look);
		fprintf(to, "'%s.dat' index %" PRIu32 " using 1:2 with linespoints lt %" PRIu32 " title ",
		        name, mode, look);
		figure_string(to, "%s", rows->modes[mode]);
	}
}

/* The largest of 1, 2 and 5 times a power of ten that is not above `value`; value > 0. */
static double round_down(double value)
{
	static const double steps[] = {5, 2, 1};
	double decade = pow(10, floor(log10(value)));
	for (int i = 0; i < 2; i++)
		if (steps[i] * decade <= value)
			return steps[i] * decade;
	return decade;
}

/* Ticks at 1, 2 and 5, so that a short range has some too. */
static void throughput_range(FILE *to, const plot_rows *rows)
{
	double least = 0, most = 0, low, high;
	const char *comma = "";
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		if (!(row->tokens_per_s > 0))
			continue;
		double low_end = fmin(row->tokens_per_s, row->slow_tokens_per_s);
		least = least > 0 ? fmin(least, low_end) : low_end;
		most = fmax(most, fmax(row->tokens_per_s, row->fast_tokens_per_s));
	}
	if (!(most > 0))
		least = most = 1;
	low = round_down(least / 1.2);
	high = most * 1.3;
	fprintf(to, "set yrange [%.9g:%.9g]\nset ytics (", 0.999 * low, high);
	for (double tick = low; tick <= high; tick = round_down(tick * 2.51)) {
		bool shown = high / low < 2000 || tick <= 1.01 * pow(10, floor(log10(tick) + 1e-9));
		if (shown)
			fprintf(to, "%s%.9g", comma, tick);
		comma = shown ? ", " : comma;
	}
	fputs(")\n", to);
}

static void throughput_label(FILE *to, const plot_rows *rows)
{
	bool bars = false;
	for (uint32_t i = 0; i < rows->count; i++)
		bars |= rows->rows[i].ok && rows->rows[i].steps > 1;
	fprintf(to, "set ylabel 'tokens/s (log scale%s)'\nset logscale y\n",
	        bars ? "; bars: quartiles" : "");
}

static void throughput_script(FILE *to, const plot_rows *rows)
{
	uint32_t key_entries = rows->mode_count;
	figure_begin(to, "throughput", "Throughput", FIGURE_SWEEP_PX, rows);
	figure_experts_axis(to, rows, key_entries, count_bands(rows));
	throughput_label(to, rows);
	throughput_range(to, rows);
	draw_marks(to, rows, key_entries);
	plot_modes(to, rows, "throughput", true);
	fputc('\n', to);
	figure_end(to);
}

static void memory_line(FILE *to, uint64_t bytes, const char *name, const char *look)
{
	if (!bytes)
		return;
	fprintf(to, ", \\\n     %.9g with lines %s title ", (double)bytes / GIB, look);
	figure_string(to, "%s", name);
}

/* Room above the highest of everything that is drawn. */
static double memory_top(const plot_rows *rows, uint64_t target_bytes)
{
	uint64_t most = target_bytes > rows->limit_bytes ? target_bytes : rows->limit_bytes;
	for (uint32_t i = 0; i < rows->count; i++)
		if (rows->rows[i].ok && rows->rows[i].peak_vram_bytes > most)
			most = rows->rows[i].peak_vram_bytes;
	return most ? 1.15 * (double)most / GIB : 1;
}

static void memory_script(FILE *to, const plot_rows *rows)
{
	/* Nothing else keeps to the target; without a run that does, it would only flatten the rest. */
	uint64_t target_bytes = plot_rows_have_mode(rows, "ufm") ? rows->target_bytes : 0;
	uint32_t key_entries = rows->mode_count + (target_bytes != 0) + (rows->limit_bytes != 0);
	figure_begin(to, "memory", "Peak device memory", FIGURE_SWEEP_PX, rows);
	figure_experts_axis(to, rows, key_entries, count_bands(rows));
	fprintf(to, "set ylabel 'peak device memory (GiB)'\nset yrange [0:%.9g]\n",
	        memory_top(rows, target_bytes));
	draw_marks(to, rows, key_entries);
	plot_modes(to, rows, "memory", false);
	memory_line(to, target_bytes, "target of ufm", FIGURE_TARGET_LINE);
	memory_line(to, rows->limit_bytes, "card limit", FIGURE_LIMIT_LINE);
	fputc('\n', to);
	figure_end(to);
}

const figure figure_throughput = {
	.name = "throughput", .data = throughput_data, .script = throughput_script};
const figure figure_memory = {.name = "memory", .data = memory_data, .script = memory_script};
