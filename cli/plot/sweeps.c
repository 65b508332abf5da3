/* SPDX-License-Identifier: MIT */
/* The figures over the number of experts: throughput, and peak device memory. */
#include <inttypes.h>
#include <math.h>

#include "cli/plot/figures.h"

#define GIB 1073741824.0
#define MARK_STEP 1.3 /* from a mark to the one above, on the log scale */

/* Marks of one kind: the runs that did not end well, by mode. */
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

static bool any_marked(const plot_rows *rows, const marks *kind)
{
	for (uint32_t i = 0; i < rows->count; i++)
		if (is_marked(&rows->rows[i], kind))
			return true;
	return false;
}

/* How many marks for the same number of experts come before this one: none may hide another. */
static uint32_t mark_level(const plot_rows *rows, uint32_t row)
{
	uint32_t level = 0;
	for (uint32_t i = 0; i < row; i++)
		level += !rows->rows[i].ok && rows->rows[i].experts == rows->rows[row].experts;
	return level;
}

static uint32_t highest_level(const plot_rows *rows)
{
	uint32_t highest = 0;
	for (uint32_t i = 0; i < rows->count; i++) {
		uint32_t level = rows->rows[i].ok ? 0 : mark_level(rows, i);
		highest = level > highest ? level : highest;
	}
	return highest;
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

static void marks_data(FILE *to, const plot_rows *rows, const marks *kind)
{
	fprintf(to,
	        "# %s: experts, size of the bank in GiB, line type of the mode, place among marks for "
	        "as many experts\nNaN NaN NaN NaN\n",
	        kind->words);
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		if (is_marked(row, kind))
			fprintf(to, "%" PRIu32 " %.9g %" PRIu32 " %" PRIu32 "\n", row->experts,
			        (double)row->bank_bytes / GIB, figure_mode_look(rows, row->mode),
			        mark_level(rows, i));
	}
	fputs("\n\n", to);
}

/* A block for each mode, then one for each kind of mark. */
static void sweep_data(FILE *to, const plot_rows *rows, bool memory)
{
	for (uint32_t mode = 0; mode < rows->mode_count; mode++)
		mode_data(to, rows, mode, memory);
	for (size_t i = 0; i < MARKS_COUNT; i++)
		marks_data(to, rows, &all_marks[i]);
}

static void throughput_data(FILE *to, const plot_rows *rows)
{
	sweep_data(to, rows, false);
}

static void memory_data(FILE *to, const plot_rows *rows)
{
	sweep_data(to, rows, true);
}

/* In the mode's colour, at a height given as gnuplot's `using`; smaller marks on larger ones where
 * heights can be equal. The words are in the legend, where no position of a mark cuts them off. */
static void plot_marks(FILE *to, const plot_rows *rows, const char *name, size_t kind,
                       const char *height)
{
	if (!any_marked(rows, &all_marks[kind]))
		return;
	fprintf(to,
	        ", \\\n     '%s.dat' index %zu using 1:%s:(3*0.75**$4):3 with points pt %d ps variable "
	        "lw 5 lc variable notitle, \\\n     NaN with points pt %d ps 2.5 lw 5 lc rgb '#777777' "
	        "title ",
	        name, rows->mode_count + kind, height, all_marks[kind].point, all_marks[kind].point);
	figure_string(to, "%s", all_marks[kind].words);
}

static uint32_t key_entries(const plot_rows *rows)
{
	uint32_t entries = rows->mode_count;
	for (size_t i = 0; i < MARKS_COUNT; i++)
		entries += any_marked(rows, &all_marks[i]);
	return entries;
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

/* Room below for the marks at the axis; ticks at 1, 2 and 5, so that a short range has some too. */
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
	low = round_down(least / (1.8 * pow(MARK_STEP, highest_level(rows))));
	high = most * 1.3;
	fprintf(to, "low = %.9g\nset yrange [low*0.999:%.9g]\nset ytics (", low, high);
	for (double tick = low; tick <= high; tick = round_down(tick * 2.51)) {
		bool shown = high / low < 2000 || tick <= 1.01 * pow(10, floor(log10(tick) + 1e-9));
		if (shown)
			fprintf(to, "%s%.9g", comma, tick);
		comma = shown ? ", " : comma;
	}
	fputs(")\n", to);
}

/* What the bars are, and of how many steps. */
static void throughput_label(FILE *to, const plot_rows *rows)
{
	uint32_t fewest = UINT32_MAX, most = 0;
	for (uint32_t i = 0; i < rows->count; i++) {
		uint32_t steps = rows->rows[i].ok ? rows->rows[i].steps : 0;
		if (steps == 0)
			continue;
		fewest = steps < fewest ? steps : fewest;
		most = steps > most ? steps : most;
	}
	fputs("set ylabel 'tokens/s (log scale", to);
	if (most > 1)
		fputs("; bars: quartiles of ", to);
	if (most > fewest)
		fprintf(to, "%" PRIu32 " to ", fewest);
	if (most > 1)
		fprintf(to, "%" PRIu32 " steps", most);
	fputs(")'\nset logscale y\n", to);
}

static void throughput_script(FILE *to, const plot_rows *rows)
{
	char height[64];
	snprintf(height, sizeof height, "(low*1.25*%g**$4)", MARK_STEP);
	figure_begin(to, "throughput", "Throughput", 900, rows);
	figure_experts_axis(to, rows, key_entries(rows));
	throughput_label(to, rows);
	throughput_range(to, rows);
	plot_modes(to, rows, "throughput", true);
	for (size_t i = 0; i < MARKS_COUNT; i++)
		plot_marks(to, rows, "throughput", i, height);
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
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		uint64_t drawn = row->oom ? row->bank_bytes : row->peak_vram_bytes;
		most = drawn > most ? drawn : most;
	}
	return most ? 1.15 * (double)most / GIB : 1;
}

static void memory_script(FILE *to, const plot_rows *rows)
{
	/* Nothing else keeps to the target; without a run that does, it would only flatten the rest. */
	uint64_t target_bytes = plot_rows_have_mode(rows, "ufm") ? rows->target_bytes : 0;
	figure_begin(to, "memory", "Peak device memory", 900, rows);
	figure_experts_axis(to, rows,
	                    key_entries(rows) + (target_bytes != 0) + (rows->limit_bytes != 0));
	fprintf(to, "set ylabel 'peak device memory (GiB)'\ntop = %.9g\nset yrange [0:top]\n",
	        memory_top(rows, target_bytes));
	plot_modes(to, rows, "memory", false);
	memory_line(to, target_bytes, "target of ufm", FIGURE_TARGET_LINE);
	memory_line(to, rows->limit_bytes, "card limit", FIGURE_LIMIT_LINE);
	/* The bank is what would not fit. What a run with an error would have taken is not known: at the
	 * axis. */
	plot_marks(to, rows, "memory", 0, "2");
	plot_marks(to, rows, "memory", 1, "(top*(0.04+0.06*$4))");
	fputc('\n', to);
	figure_end(to);
}

const figure figure_throughput = {
	.name = "throughput", .data = throughput_data, .script = throughput_script};
const figure figure_memory = {.name = "memory", .data = memory_data, .script = memory_script};
