/* SPDX-License-Identifier: MIT */
/* The look that all figures share. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cli/columns.h"
#include "cli/plot/figures.h"

#define TEXT_BYTES 1024
#define KIB 1024.0
#define MIB 1048576.0
#define GIB 1073741824.0
#define KEY_COLUMNS 3

/* Line types. The first belong to the modes of ufm bench by name, the others to any other mode.
 * Colours of Okabe and Ito, which stay apart for the colour-blind; modes differ in points too. */
static const struct {
	const char *colour;
	int point;
} looks[] = {
	{"#0072B2", 5},  {"#D55E00", 9}, {"#009E73", 7}, {"#CC79A7", 13}, {"#E69F00", 11},
	{"#56B4E9", 15}, {"#000000", 4}, {"#F0E442", 6}, {"#999999", 10}, {"#882255", 12},
	{"#332288", 14}, {"#44AA99", 1}, {"#AA4499", 3}, {"#999933", 8},  {"#661100", 5},
};
#define LOOK_COUNT (sizeof looks / sizeof looks[0])

static const char *const known_modes[] = {"baseline", "naive_offload", "ufm"};
#define KNOWN_COUNT (sizeof known_modes / sizeof known_modes[0])
static_assert(LOOK_COUNT == KNOWN_COUNT + PLOT_MODES_MAX, "every mode has a look");

static uint32_t known_look(const char *mode)
{
	for (uint32_t i = 0; i < KNOWN_COUNT; i++)
		if (strcmp(known_modes[i], mode) == 0)
			return i + 1;
	return 0;
}

uint32_t figure_mode_look(const plot_rows *rows, uint32_t mode)
{
	uint32_t look = known_look(rows->modes[mode]);
	if (look)
		return look;
	look = KNOWN_COUNT + 1;
	for (uint32_t i = 0; i < mode; i++)
		look += known_look(rows->modes[i]) == 0;
	return look;
}

#define BELOW_COLUMNS 104
#define BELOW_LINES 2

/* The last place where a text may be broken, rather behind a semicolon; NULL: there is none. */
static const char *last_break(const char *text)
{
	const char *last = NULL;
	for (const char *at = text; (at = strstr(at, "; ")); at++)
		last = at + 1;
	return last && last - text > BELOW_COLUMNS / 2 ? last : strrchr(text, ' ');
}

/* Bytes of what fits a line: all, or up to a space, or as much as there is room for. */
static size_t line_bytes(const char *text)
{
	char cut[TEXT_BYTES];
	snprintf(cut, sizeof cut, "%s", text);
	size_t fits = strlen(columns_fit(cut, BELOW_COLUMNS));
	const char *end = last_break(cut);
	return text[fits] && end ? (size_t)(end - cut) : fits;
}

static void below_line(FILE *to, uint32_t line, const char *text, size_t bytes, unsigned height_px)
{
	bool cut = line + 1 == BELOW_LINES && text[bytes];
	fprintf(to, "set label %" PRIu32 " ", 2 + line);
	figure_string(to, "%.*s%s", (int)bytes, text, cut ? " …" : "");
	fprintf(to, " at screen 0.5,%.4f center font ',18' textcolor rgb '#333333'\n",
	        1 - (72.0 + 28 * line) / height_px);
}

/* Labels instead of the figure's title: two sizes. */
static void titles(FILE *to, const char *title, const char *below, unsigned height_px)
{
	fputs("set label 1 ", to);
	figure_string(to, "%s", title);
	fprintf(to, " at screen 0.5,%.4f center font ',24'\n", 1 - 34.0 / height_px);
	for (uint32_t line = 0; line < BELOW_LINES && (line == 0 || *below); line++) {
		size_t bytes = line_bytes(below);
		below_line(to, line, below, bytes, height_px);
		below += bytes + (below[bytes] == ' ');
	}
}

/* The same commands draw both formats; sizes are chosen for reading at half a page's width. */
void figure_frame(FILE *to, const char *name, const char *title, const char *below,
                  unsigned height_px)
{
	static const char terminal[] =
		"if (format eq '%s') { set terminal %s noenhanced size 1400,%u font 'DejaVu Sans,20' "
		"background 'white' }\n";
	fprintf(to,
	        "# Draws %s.png and %s.svg from %s.dat. Run in this folder: gnuplot %s.gp\n"
	        "set encoding utf8\n",
	        name, name, name, name);
	for (uint32_t i = 0; i < LOOK_COUNT; i++)
		fprintf(to, "set linetype %" PRIu32 " lc rgb '%s' lw 3 pt %d ps 2.2\n", i + 1,
		        looks[i].colour, looks[i].point);
	fputs("do for [format in 'png svg'] {\n", to);
	fprintf(to, terminal, "png", "pngcairo", height_px);
	fprintf(to, terminal, "svg", "svg", height_px);
	fprintf(to,
	        "set output '%s.'.format\n"
	        "set grid ytics mytics lc rgb '#b0b0b0' lw 1.5 dt 1, lc rgb '#dcdcdc' lw 1 dt 1\n"
	        "set border 3 lw 1.5\n"
	        "set tics nomirror out\n",
	        name);
	titles(to, title, below, height_px);
}

/* "; n = 3 steps" */
static void steps_text(const plot_rows *rows, char *text, size_t size)
{
	uint32_t least = rows->steps_min, most = rows->steps_max;
	if (least == most && most)
		snprintf(text, size, "; n = %" PRIu32 " step%s", most, most == 1 ? "" : "s");
	else if (most)
		snprintf(text, size, "; n = %" PRIu32 " to %" PRIu32 " steps", least, most);
}

void figure_begin(FILE *to, const char *name, const char *title, unsigned height_px,
                  const plot_rows *rows)
{
	char below[TEXT_BYTES], link[64] = "", steps[64] = "";
	if (rows->link_gbps > 0)
		snprintf(link, sizeof link, "; emulated link, %g GB/s each way", rows->link_gbps);
	steps_text(rows, steps, sizeof steps);
	snprintf(below, sizeof below, "%s%s%s%s%s%s%s%s", rows->machine, *rows->machine ? "; " : "",
	         *rows->backend ? "backend " : "", rows->backend, *rows->device ? ", device " : "",
	         rows->device, link, steps);
	figure_frame(to, name, title, below, height_px);
}

void figure_end(FILE *to)
{
	fputs("unset output\n}\n", to);
}

static uint64_t bank_of(const plot_rows *rows, uint32_t experts)
{
	for (uint32_t i = 0; i < rows->count; i++)
		if (rows->rows[i].experts == experts && rows->rows[i].bank_bytes)
			return rows->rows[i].bank_bytes;
	return 0;
}

/* Three digits, or all before the point. */
static void size_text(FILE *to, uint64_t bytes)
{
	double size = (double)bytes;
	const char *unit = size >= 0.1 * GIB ? "GiB" : size >= 0.1 * MIB ? "MiB" : "KiB";
	size /= *unit == 'G' ? GIB : *unit == 'M' ? MIB : KIB;
	fprintf(to, "%.*f %s", size >= 100 ? 0 : size >= 10 ? 1 : 2, size, unit);
}

/* Parts of the axis that a size and a number take; they are left out where they would touch. */
#define TICK_SIZE 0.11
#define TICK_NUMBER 0.04

/* From the largest, which matters most. */
static void experts_ticks(FILE *to, const plot_rows *rows, const uint32_t *experts, uint32_t count,
                          double span)
{
	double number_free = experts[count - 1], size_free = number_free;
	fputs("set xtics (", to);
	for (uint32_t i = count; i-- > 0;) {
		uint64_t bank_bytes = bank_of(rows, experts[i]);
		fprintf(to, "%s\"", i + 1 < count ? ", " : "");
		if (experts[i] <= number_free) {
			fprintf(to, "%" PRIu32, experts[i]);
			number_free = experts[i] - TICK_NUMBER * span;
			if (bank_bytes && experts[i] <= size_free) {
				fputs("\\n", to);
				size_text(to, bank_bytes);
				size_free = experts[i] - TICK_SIZE * span;
			}
		}
		fprintf(to, "\" %" PRIu32, experts[i]);
	}
	fputs(")\n", to);
}

/* Of the figure's height. */
#define KEY_LINE (34.0 / FIGURE_SWEEP_PX)
#define BAND (40.0 / FIGURE_SWEEP_PX)

static double key_height(uint32_t entries)
{
	uint32_t lines = (entries + KEY_COLUMNS - 1) / KEY_COLUMNS;
	return KEY_LINE * lines;
}

static double below_key(uint32_t entries)
{
	return 1 - (double)(FIGURE_HEADER_PX + 20) / FIGURE_SWEEP_PX - key_height(entries);
}

double figure_band_y(uint32_t key_entries, uint32_t band)
{
	return below_key(key_entries) - BAND * (band + 0.5);
}

double figure_experts_margin(const plot_rows *rows)
{
	uint32_t experts[PLOT_ROWS_MAX];
	uint32_t count = plot_rows_experts(rows, experts);
	double least = experts[0], most = experts[count - 1];
	return most > least ? 0.1 * (most - least) : 0.5 * most;
}

void figure_experts_axis(FILE *to, const plot_rows *rows, uint32_t key_entries, uint32_t bands)
{
	uint32_t experts[PLOT_ROWS_MAX];
	uint32_t count = plot_rows_experts(rows, experts);
	double least = experts[0], most = experts[count - 1], margin = figure_experts_margin(rows);
	fprintf(to,
	        "set xrange [%g:%g]\nset xlabel 'experts a layer (size of the bank)' offset 0,-1.2\n"
	        "set lmargin 12\nset rmargin 4\nset bmargin 6\nset tmargin at screen %.4f\n"
	        "set key at screen 0.5,%.4f center center horizontal Left reverse samplen 3 "
	        "width 0 maxcols %d\n",
	        least - margin, most + margin,
	        below_key(key_entries) - BAND * bands - 10.0 / FIGURE_SWEEP_PX,
	        below_key(key_entries) + 10.0 / FIGURE_SWEEP_PX + key_height(key_entries) / 2,
	        KEY_COLUMNS);
	experts_ticks(to, rows, experts, count, most - least + 2 * margin);
}
