/* SPDX-License-Identifier: MIT */
/* The figures over the number of experts: throughput, and peak device memory. */
#include <inttypes.h>
#include <math.h>

#include "cli/plot_figures.h"

#define GIB 1073741824.0

/* One block for each mode, then one for the runs that ran out of memory: column 3 is their mode. */
static void sweep_data(FILE *to, const plot_rows *rows, bool memory)
{
	for (uint32_t mode = 0; mode < rows->mode_count; mode++) {
		fprintf(to, "# %s: experts, %s\n", rows->modes[mode],
		        memory ? "peak device memory in GiB" : "tokens/s");
		/* A block that would be empty keeps its place. */
		fprintf(to, "NaN NaN\n");
		for (uint32_t i = 0; i < rows->count; i++) {
			const plot_row *row = &rows->rows[i];
			if (row->mode == mode && row->ok)
				fprintf(to, "%" PRIu32 " %.9g\n", row->experts,
				        memory ? (double)row->peak_vram_bytes / GIB : row->tokens_per_s);
		}
		fputs("\n\n", to);
	}
	fprintf(to, "# out of memory: experts, size of the bank in GiB, mode\nNaN NaN NaN\n");
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		if (row->oom)
			fprintf(to, "%" PRIu32 " %.9g %" PRIu32 "\n", row->experts,
			        (double)row->bank_bytes / GIB, row->mode + 1);
	}
}

static void throughput_data(FILE *to, const plot_rows *rows, const char *folder)
{
	(void)folder;
	sweep_data(to, rows, false);
}

static void memory_data(FILE *to, const plot_rows *rows, const char *folder)
{
	(void)folder;
	sweep_data(to, rows, true);
}

static bool any_oom(const plot_rows *rows)
{
	for (uint32_t i = 0; i < rows->count; i++)
		if (rows->rows[i].oom)
			return true;
	return false;
}

/* A cross in the mode's colour with the words beside it, at a height given as gnuplot's `using`. */
static void plot_oom(FILE *to, const plot_rows *rows, const char *name, const char *height,
                     const char *words, const char *place)
{
	if (!any_oom(rows))
		return;
	fprintf(to,
	        ", \\\n     '%s.dat' index %" PRIu32 " using 1:%s:3 with points pt 2 ps 3 lw 5 lc "
	        "variable notitle, \\\n     '' index %" PRIu32
	        " using 1:%s:('%s') with labels %s notitle",
	        name, rows->mode_count, height, rows->mode_count, height, words, place);
}

static void plot_modes(FILE *to, const plot_rows *rows, const char *name)
{
	fputs("plot ", to);
	for (uint32_t mode = 0; mode < rows->mode_count; mode++)
		fprintf(to,
		        "%s'%s.dat' index %" PRIu32 " using 1:2 with linespoints lt %" PRIu32 " title '%s'",
		        mode ? ", \\\n     " : "", name, mode, mode + 1, rows->modes[mode]);
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

/* Room below for a cross at the axis; ticks at 1, 2 and 5, so that a short range has some too. */
static void throughput_range(FILE *to, const plot_rows *rows)
{
	double least = 0, most = 0, low, high;
	const char *comma = "";
	for (uint32_t i = 0; i < rows->count; i++) {
		double value = rows->rows[i].tokens_per_s;
		if (!(value > 0))
			continue;
		least = least > 0 && least < value ? least : value;
		most = most > value ? most : value;
	}
	if (!(most > 0))
		least = most = 1;
	low = round_down(least / 1.8);
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

static void throughput_script(FILE *to, const plot_rows *rows, const char *folder)
{
	(void)folder;
	figure_begin(to, "throughput", "Throughput", 900, rows);
	figure_experts_axis(to, rows);
	fputs("set ylabel 'tokens/s (log scale)'\nset logscale y\n", to);
	throughput_range(to, rows);
	plot_modes(to, rows, "throughput");
	plot_oom(to, rows, "throughput", "(low*1.25)", "out of memory", "right offset char -1.5,0");
	fputc('\n', to);
	figure_end(to);
}

static void memory_line(FILE *to, uint64_t bytes, const char *name, const char *look)
{
	if (bytes)
		fprintf(to, ", \\\n     %.9g with lines %s title '%s'", (double)bytes / GIB, look, name);
}

/* Room above the highest of everything that is drawn. */
static double memory_top(const plot_rows *rows)
{
	uint64_t most = rows->target_bytes > rows->limit_bytes ? rows->target_bytes : rows->limit_bytes;
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		uint64_t drawn = row->oom ? row->bank_bytes : row->peak_vram_bytes;
		most = drawn > most ? drawn : most;
	}
	return most ? 1.15 * (double)most / GIB : 1;
}

static void memory_script(FILE *to, const plot_rows *rows, const char *folder)
{
	(void)folder;
	figure_begin(to, "memory", "Peak device memory", 900, rows);
	figure_experts_axis(to, rows);
	fprintf(to, "set ylabel 'peak device memory (GiB)'\nset yrange [0:%.9g]\n", memory_top(rows));
	plot_modes(to, rows, "memory");
	memory_line(to, rows->target_bytes, "target of ufm", "lw 3 dt 2 lc rgb '#555555'");
	memory_line(to, rows->limit_bytes, "card limit", "lw 3 dt 4 lc rgb '#000000'");
	plot_oom(to, rows, "memory", "2", "out of memory (size of the bank)",
	         "right offset char 3,1.2");
	fputc('\n', to);
	figure_end(to);
}

const figure figure_throughput = {
	.name = "throughput", .data = throughput_data, .script = throughput_script};
const figure figure_memory = {.name = "memory", .data = memory_data, .script = memory_script};
