/* SPDX-License-Identifier: MIT */
/* Memory over time: one panel for each mode; for each run a solid line of device memory and a
 * dashed one of process memory. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plot_figures.h"

#define COLUMNS_MAX 32

typedef struct columns {
	int t, device, process; /* -1: not there */
} columns;

static columns find_columns(char *header)
{
	columns found = {.t = -1, .device = -1, .process = -1};
	char *rest = header, *name;
	for (int i = 0; i < COLUMNS_MAX && (name = strsep(&rest, ",\r\n")); i++) {
		if (strcmp(name, "t") == 0)
			found.t = i;
		else if (strcmp(name, "gpu_alloc_gb") == 0)
			found.device = i;
		else if (strcmp(name, "proc_ram_gb") == 0)
			found.process = i;
	}
	return found;
}

/* t, device, process of one line; false for a line cut short (a killed run). */
static bool read_sample(char *line, const columns *at, double sample[3])
{
	const int want[3] = {at->t, at->device, at->process};
	bool seen[3] = {false, false, false};
	char *rest = line, *text;
	for (int i = 0; i < COLUMNS_MAX && (text = strsep(&rest, ",\r\n")); i++)
		for (int j = 0; j < 3; j++) {
			char *end;
			if (want[j] != i)
				continue;
			sample[j] = strtod(text, &end);
			seen[j] = end != text && *end == '\0';
		}
	return seen[0] && seen[1] && seen[2];
}

/* Calls `each` for every whole line of a run's telemetry. */
typedef void (*sample_fn)(void *ctx, const double sample[3]);
static void read_telemetry(const char *folder, const plot_row *row, sample_fn each, void *ctx)
{
	char path[PATH_MAX], *line = NULL;
	size_t size = 0;
	columns at = {.t = -1, .device = -1, .process = -1};
	double sample[3];
	FILE *from;
	snprintf(path, sizeof path, "%.3900s/%s", folder, row->telemetry);
	from = *row->telemetry ? fopen(path, "re") : NULL;
	if (!from)
		return;
	if (getline(&line, &size, from) != -1)
		at = find_columns(line);
	while (at.t >= 0 && getline(&line, &size, from) != -1)
		if (read_sample(line, &at, sample))
			each(ctx, sample);
	free(line);
	fclose(from);
}

static void write_sample(void *ctx, const double sample[3])
{
	fprintf(ctx, "%.3f %.6f %.6f\n", sample[0], sample[1], sample[2]);
}

static void timeline_data(FILE *to, const plot_rows *rows, const char *folder)
{
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		/* A block that would be empty keeps its place. */
		fprintf(to, "# %s, %" PRIu32 " experts: seconds, device GiB, process GiB\nNaN NaN NaN\n",
		        rows->modes[row->mode], row->experts);
		read_telemetry(folder, row, write_sample, to);
		fputs("\n\n", to);
	}
}

/* The largest time and memory, so that panels can be compared and none depends on autoscaling. */
static void widen(void *ctx, const double sample[3])
{
	double *most = ctx;
	for (int i = 0; i < 2; i++)
		most[i] = sample[i] > most[i] ? sample[i] : most[i];
	most[1] = sample[2] > most[1] ? sample[2] : most[1];
}

/* Numbers of experts have colours of their own: those of the modes mean something else. */
static const char *const shades[] = {"#0d0887", "#cc4778", "#f0a020",
                                     "#56b4e9", "#7e03a8", "#000000"};
#define SHADE_COUNT (sizeof shades / sizeof shades[0])

static const char *shade_of(const plot_rows *rows, uint32_t row)
{
	uint32_t first = row;
	while (first > 0 && rows->rows[first - 1].mode == rows->rows[row].mode)
		first--;
	return shades[(row - first) % SHADE_COUNT];
}

static void panel_title(FILE *to, const plot_rows *rows, uint32_t mode)
{
	fprintf(to, "set title '%s", rows->modes[mode]);
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		if (row->mode == mode && !row->ok)
			fprintf(to, " (%" PRIu32 " experts: %s)", row->experts,
			        row->oom ? "out of memory" : "failed");
	}
	fputs("' noenhanced offset 0,-0.5\n", to);
}

static void key_entry(FILE *to, const char *look, const char *title)
{
	fprintf(to, ", \\\n     NaN with lines lw 3 %s title '%s'", look, title);
}

/* One legend for all panels, drawn with the first. */
static void legend(FILE *to, const plot_rows *rows)
{
	char look[64], title[32];
	for (uint32_t i = 0; i < rows->count && rows->rows[i].mode == rows->rows[0].mode; i++) {
		snprintf(look, sizeof look, "dt 1 lc rgb '%s'", shade_of(rows, i));
		snprintf(title, sizeof title, "%" PRIu32 " experts", rows->rows[i].experts);
		key_entry(to, look, title);
	}
	key_entry(to, "dt 1 lc rgb '#777777'", "device");
	key_entry(to, "dt 2 lc rgb '#777777'", "process");
	if (rows->target_bytes)
		key_entry(to, "dt 4 lc rgb '#000000'", "target of ufm");
}

static void panel(FILE *to, const plot_rows *rows, uint32_t mode, const char *folder)
{
	double most[2] = {0, 0};
	for (uint32_t i = 0; i < rows->count; i++)
		if (rows->rows[i].mode == mode)
			read_telemetry(folder, &rows->rows[i], widen, most);
	panel_title(to, rows, mode);
	if (mode + 1 == rows->mode_count)
		fputs("set xlabel 'time since the run began (s)'\n", to);
	fprintf(to, "set xrange [0:%.3f]\nplot -1 notitle", most[0] > 0 ? most[0] : 1);
	for (uint32_t i = 0; i < rows->count; i++) {
		if (rows->rows[i].mode != mode)
			continue;
		const char *shade = shade_of(rows, i);
		fprintf(to,
		        ", \\\n     'timeline.dat' index %" PRIu32 " using 1:2 with lines dt 1 lw 3 lc rgb "
		        "'%s' notitle, \\\n     '' index %" PRIu32
		        " using 1:3 with lines dt 2 lw 2.5 lc rgb '%s' notitle",
		        i, shade, i, shade);
	}
	if (rows->target_bytes && strcmp(rows->modes[mode], "ufm") == 0)
		fprintf(to, ", \\\n     %.9g with lines lw 2 dt 4 lc rgb '#000000' notitle",
		        (double)rows->target_bytes / 1073741824.0);
	if (mode == 0)
		legend(to, rows);
	fputc('\n', to);
	if (mode == 0)
		fputs("unset label 1\nunset label 2\nunset key\n", to);
}

static void timeline_script(FILE *to, const plot_rows *rows, const char *folder)
{
	double most[2] = {0, 0};
	unsigned height_px = 240 + 340 * rows->mode_count;
	for (uint32_t i = 0; i < rows->count; i++)
		read_telemetry(folder, &rows->rows[i], widen, most);
	figure_begin(to, "timeline", "Memory over time", height_px, rows);
	fprintf(to,
	        "set multiplot layout %" PRIu32 ",1 margins 0.10,0.79,%.4f,%.4f spacing 0,%.4f\n"
	        "set ylabel 'GiB'\nset yrange [0:%.6f]\n"
	        "set key at screen 0.80,%.4f left top vertical Left reverse noenhanced samplen 2.5\n",
	        rows->mode_count, 115.0 / height_px, 1 - 145.0 / height_px, 120.0 / height_px,
	        most[1] > 0 ? 1.05 * most[1] : 1, 1 - 145.0 / height_px);
	for (uint32_t mode = 0; mode < rows->mode_count; mode++)
		panel(to, rows, mode, folder);
	fputs("unset multiplot\n", to);
	figure_end(to);
}

const figure figure_timeline = {
	.name = "timeline", .data = timeline_data, .script = timeline_script};
