/* SPDX-License-Identifier: MIT */
/* The look that all figures share. */
#include <inttypes.h>

#include "cli/plot_figures.h"

#define GIB 1073741824.0

/* Colours of Okabe and Ito, which stay apart for the colour-blind; modes differ in points too. */
static const struct {
	const char *colour;
	int point;
} looks[PLOT_MODES_MAX] = {
	{"#0072B2", 5},  {"#D55E00", 9},  {"#009E73", 7}, {"#CC79A7", 13},
	{"#E69F00", 11}, {"#56B4E9", 15}, {"#000000", 4}, {"#F0E442", 6},
};

/* Text for a single-quoted string of gnuplot. */
static void quoted(FILE *to, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '\'')
			fputs("''", to);
		else if (c >= 0x20 && c != 0x7f)
			fputc(c, to);
	}
}

/* Labels instead of the figure's title: two sizes, and no mark-up to escape in a device's name. */
static void titles(FILE *to, const char *title, unsigned height_px, const plot_rows *rows)
{
	fprintf(to, "set label 1 '%s' at screen 0.5,%.4f center font ',24' noenhanced\n", title,
	        1 - 34.0 / height_px);
	fprintf(to, "set label 2 '%s", *rows->backend ? "backend " : "");
	quoted(to, rows->backend);
	fputs(*rows->device ? ", device " : "", to);
	quoted(to, rows->device);
	if (rows->link_gbps > 0)
		fprintf(to, "; emulated link, %g GB/s each way", rows->link_gbps);
	fprintf(to, "' at screen 0.5,%.4f center font ',18' noenhanced textcolor rgb '#333333'\n",
	        1 - 72.0 / height_px);
}

/* The same commands draw both formats; sizes are chosen for reading at half a page's width. */
void figure_begin(FILE *to, const char *name, const char *title, unsigned height_px,
                  const plot_rows *rows)
{
	static const char terminal[] =
		"if (format eq '%s') { set terminal %s size 1400,%u font 'DejaVu Sans,20' "
		"background 'white' }\n";
	fprintf(to,
	        "# Draws %s.png and %s.svg from %s.dat. Run in this folder: gnuplot %s.gp\n"
	        "set encoding utf8\n",
	        name, name, name, name);
	for (uint32_t i = 0; i < PLOT_MODES_MAX; i++)
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
	titles(to, title, height_px, rows);
}

void figure_end(FILE *to)
{
	fputs("unset output\n}\n", to);
}

static void experts_range(const plot_rows *rows, uint32_t *least, uint32_t *most)
{
	*least = UINT32_MAX;
	*most = 0;
	for (uint32_t i = 0; i < rows->count; i++) {
		uint32_t experts = rows->rows[i].experts;
		*least = experts < *least ? experts : *least;
		*most = experts > *most ? experts : *most;
	}
}

/* A number of experts has the same bank in every mode; ticks set twice are drawn once. */
void figure_experts_axis(FILE *to, const plot_rows *rows)
{
	uint32_t least, most;
	double margin;
	experts_range(rows, &least, &most);
	margin = most > least ? 0.1 * (most - least) : 0.5 * most;
	fprintf(
		to,
		"set xrange [%g:%g]\nset xlabel 'experts a layer (size of the bank)' offset 0,-1.2\n"
		"set lmargin 12\nset rmargin 4\nset bmargin 6\nset tmargin at screen 0.78\n"
		"set key at screen 0.5,0.845 center center horizontal Left reverse noenhanced samplen 3 "
		"width 2 maxrows 1\nset xtics (",
		least - margin, most + margin);
	for (uint32_t i = 0; i < rows->count; i++) {
		const plot_row *row = &rows->rows[i];
		if (i && row->mode != rows->rows[0].mode)
			break;
		fprintf(to, "%s\"%" PRIu32, i ? ", " : "", row->experts);
		if (row->bank_bytes)
			fprintf(to, "\\n%.2f GiB", (double)row->bank_bytes / GIB);
		fprintf(to, "\" %" PRIu32, row->experts);
	}
	fputs(")\n", to);
}
