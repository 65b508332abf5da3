/* SPDX-License-Identifier: MIT */
/* Memory over time: one panel for each mode; for each run a solid line of device memory and a
 * dotted one of process memory. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli/plot/figures.h"

#define PANEL_PX 340
#define HEADER_PX (FIGURE_HEADER_PX + 50) /* above the first panel */
#define FOOTER_PX 95
#define LEGEND_LINE_PX 33
#define LEGEND_VALUES_MAX 16

static void timeline_data(FILE *to, const plot_rows *rows)
{
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		/* A block that would be empty keeps its place. */
		figure_comment(to, "%s, %" PRIu32 " experts: seconds, device GiB, process GiB",
		               rows->modes[row->mode], row->experts);
		fputs("NaN NaN NaN\n", to);
		for (size_t j = 0; j < row->telemetry.count; j++) {
			const plot_sample *sample = &row->telemetry.samples[j];
			fprintf(to, "%.3f %.6f %.6f\n", sample->t_s, sample->device_gib, sample->process_gib);
		}
		fputs("\n\n", to);
	}
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* Ranges are given, so that panels can be compared and none depends on autoscaling. */
static double last_second(const plot_rows *rows)
{
	double last = 0;
	for (uint32_t i = 0; i < rows->count; i++)
		for (size_t j = 0; j < rows->rows[i].telemetry.count; j++)
			last = larger(last, rows->rows[i].telemetry.samples[j].t_s);
	return last > 0 ? last : 1;
}

static double top_gib(const plot_rows *rows)
{
	double top = 0;
	for (uint32_t i = 0; i < rows->count; i++)
		for (size_t j = 0; j < rows->rows[i].telemetry.count; j++) {
			const plot_sample *sample = &rows->rows[i].telemetry.samples[j];
			top = larger(top, larger(sample->device_gib, sample->process_gib));
		}
	return top > 0 ? 1.05 * top : 1;
}

/* 0: no line. A target far above all that was used would only flatten the rest. */
static double target_gib(const plot_rows *rows)
{
	double target = (double)rows->target_bytes / 1073741824.0;
	return plot_rows_have_mode(rows, "ufm") && target <= top_gib(rows) ? target : 0;
}

/* Numbers of experts have colours of their own: those of the modes mean something else. */
static const char *const shades[] = {"#0d0887", "#cc4778", "#f0a020", "#56b4e9",
                                     "#7e03a8", "#1b9e4b", "#8c510a", "#a0a000"};
#define SHADE_COUNT (sizeof shades / sizeof shades[0])

static const char *shade_of(const uint32_t *experts, uint32_t value)
{
	size_t i = 0;
	while (experts[i] != value)
		i++;
	return shades[i % SHADE_COUNT];
}

typedef struct text {
	size_t length;
	char words[512]; /* a mode and twice as many numbers as are listed */
} text;

static void add(text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(text *to, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(to->words + to->length, sizeof to->words - to->length, format, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < sizeof to->words - to->length);
	to->length += (size_t)n;
}

/* "; WORDS: 4, 8 experts", cut where a title would leave the figure. */
static void list_failed(text *to, const plot_rows *rows, uint32_t mode, bool oom, const char *words)
{
	uint32_t listed = 0;
	for (uint32_t i = 0; i < rows->count && listed <= SHADE_COUNT; i++) {
		const plot_row *row = &rows->rows[i];
		if (row->mode != mode || row->ok || row->oom != oom)
			continue;
		if (listed++ == SHADE_COUNT)
			add(to, ", …");
		else
			add(to, "%s%s%" PRIu32, listed == 1 ? words : "", listed == 1 ? ": " : ", ",
			    row->experts);
	}
	if (listed)
		add(to, " experts");
}

static void panel_title(FILE *to, const plot_rows *rows, uint32_t mode)
{
	text title = {.length = 0};
	add(&title, "%s", rows->modes[mode]);
	list_failed(&title, rows, mode, true, "; out of memory");
	list_failed(&title, rows, mode, false, "; error");
	fputs("set title ", to);
	figure_string(to, "%s", title.words);
	fputs(" offset 0,-0.5\n", to);
}

typedef struct legend {
	FILE *to;
	unsigned height_px, lines;
} legend;

/* Line and words at the figure's right. Not gnuplot's key, which loses what is longer than the panel
 * that it belongs to. look NULL: words only. */
static void legend_line(legend *l, const char *look, const char *words)
{
	double y = 1 - (HEADER_PX + 14.0 + l->lines * LEGEND_LINE_PX) / l->height_px;
	l->lines++;
	if (look)
		fprintf(l->to, "set arrow from screen 0.812,%.4f to screen 0.852,%.4f nohead %s\n", y, y,
		        look);
	fputs("set label ", l->to);
	figure_string(l->to, "%s", words);
	fprintf(l->to, " at screen 0.862,%.4f left\n", y);
}

/* One legend for all panels, drawn with the first. */
static void draw_legend(FILE *to, const plot_rows *rows, const uint32_t *experts, uint32_t count,
                        unsigned height_px)
{
	legend l = {.to = to, .height_px = height_px};
	char look[64], words[64];
	uint32_t shown = count < LEGEND_VALUES_MAX ? count : LEGEND_VALUES_MAX;
	for (uint32_t i = 0; i < shown; i++) {
		snprintf(look, sizeof look, FIGURE_DEVICE_LINE " lc rgb '%s'",
		         shade_of(experts, experts[i]));
		snprintf(words, sizeof words, "%" PRIu32 " experts", experts[i]);
		legend_line(&l, look, words);
	}
	if (shown < count) {
		snprintf(words, sizeof words, "and %" PRIu32 " more", count - shown);
		legend_line(&l, NULL, words);
	}
	legend_line(&l, FIGURE_DEVICE_LINE " lc rgb '#777777'", "device");
	legend_line(&l, FIGURE_PROCESS_LINE " lc rgb '#777777'", "process");
	if (target_gib(rows) > 0)
		legend_line(&l, FIGURE_TARGET_LINE, "target of ufm");
}

static void panel(FILE *to, const plot_rows *rows, uint32_t mode, const uint32_t *experts)
{
	panel_title(to, rows, mode);
	if (mode + 1 == rows->mode_count)
		fputs("set xlabel 'time since the run began (s)'\n", to);
	fprintf(to, "set xrange [0:%.3f]\nplot -1 notitle", last_second(rows));
	for (uint32_t i = 0; i < rows->count; i++) {
		const char *shade = shade_of(experts, rows->rows[i].experts);
		if (rows->rows[i].mode != mode)
			continue;
		fprintf(to,
		        ", \\\n     'timeline.dat' index %" PRIu32
		        " using 1:2 with lines " FIGURE_DEVICE_LINE
		        " lc rgb '%s' notitle, \\\n     '' index %" PRIu32
		        " using 1:3 with lines " FIGURE_PROCESS_LINE " lc rgb '%s' notitle",
		        i, shade, i, shade);
	}
	if (plot_rows_is_mode(rows, mode, "ufm") && target_gib(rows) > 0)
		fprintf(to, ", \\\n     %.9g with lines " FIGURE_TARGET_LINE " notitle", target_gib(rows));
	fputc('\n', to);
	if (mode == 0)
		fputs("unset label\nunset arrow\n", to);
}

/* Both the panels and the legend fit. */
static unsigned height_of(const plot_rows *rows, uint32_t values)
{
	unsigned lines = 4 + (values < LEGEND_VALUES_MAX ? values : LEGEND_VALUES_MAX);
	unsigned panels_px = HEADER_PX + FOOTER_PX + PANEL_PX * rows->mode_count;
	unsigned legend_px = HEADER_PX + LEGEND_LINE_PX * lines;
	return panels_px > legend_px ? panels_px : legend_px;
}

static void timeline_script(FILE *to, const plot_rows *rows)
{
	uint32_t experts[PLOT_ROWS_MAX];
	uint32_t count = plot_rows_experts(rows, experts);
	unsigned height_px = height_of(rows, count);
	figure_begin(to, "timeline", "Memory over time", height_px, rows);
	fprintf(to,
	        "set multiplot layout %" PRIu32 ",1 margins 0.13,0.79,%.4f,%.4f spacing 0,%.4f\n"
	        "set ylabel 'GiB'\nset yrange [0:%.6f]\nunset key\n",
	        rows->mode_count, 115.0 / height_px, 1 - (double)HEADER_PX / height_px,
	        120.0 / height_px, top_gib(rows));
	draw_legend(to, rows, experts, count, height_px);
	for (uint32_t mode = 0; mode < rows->mode_count; mode++)
		panel(to, rows, mode, experts);
	fputs("unset multiplot\n", to);
	figure_end(to);
}

const figure figure_timeline = {
	.name = "timeline", .data = timeline_data, .script = timeline_script};
