/* SPDX-License-Identifier: MIT */
/* Scripts for gnuplot and the data they read. */
#ifndef CLI_PLOT_FIGURES_H
#define CLI_PLOT_FIGURES_H

#include <stdio.h>

#include "cli/plot/rows.h"

typedef struct figure {
	const char *name; /* of NAME.gp, NAME.dat, NAME.png, NAME.svg */
	void (*data)(FILE *to, const plot_rows *rows);
	void (*script)(FILE *to, const plot_rows *rows);
} figure;

extern const figure figure_throughput, figure_memory, figure_timeline;

/* What the title and the two lines below it take of a figure's height. */
#define FIGURE_HEADER_PX 125

/* Shared by the scripts: everything up to the figure's own settings; the end of the loop over PNG
 * and SVG. title: what is shown; below it stands what it was measured on, on two lines where one is too short, in
 * figure_begin the machine, the backend, an emulated link, and how many steps a row is of. */
void figure_frame(FILE *to, const char *name, const char *title, const char *below,
                  unsigned height_px);
void figure_begin(FILE *to, const char *name, const char *title, unsigned height_px,
                  const plot_rows *rows);
void figure_end(FILE *to);
/* A string of a script, with its quotes. Every text that a script shows and that is not all our own goes through
 * here. Whatever could have a meaning to gnuplot is written by its code, so that it is text and nothing else;
 * terminals are `noenhanced`, so that no mark-up is looked for in what is drawn. One line of UTF-8: control
 * characters and other bytes are shown as '?'. */
void figure_string(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line of comment in a script or in data, in the same characters: no text ends it early. */
void figure_comment(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The x axis of the sweeps: a tick for every number of experts, with the size of the bank. Above the axes there are
 * the legend and then `bands` lines for what has no value; figure_band_y: the height of one on the screen. */
#define FIGURE_SWEEP_PX 940
void figure_experts_axis(FILE *to, const plot_rows *rows, uint32_t key_entries, uint32_t bands);
double figure_band_y(uint32_t key_entries, uint32_t band);
/* What the axis has before its first and behind its last number. */
double figure_experts_margin(const plot_rows *rows);
/* The number of the mode's line type: that of its name, so that it looks the same in every figure. */
uint32_t figure_mode_look(const plot_rows *rows, uint32_t mode);

/* Beside panels whose right margin is at .66 of the screen: no curve comes there. */
#define FIGURE_SIDE_KEY \
	"set key left center at screen 0.67,graph 0.5 Left reverse samplen 3 font ',16'\n"

/* A style means the same in every figure. */
#define FIGURE_DEVICE_LINE "dt 1 lw 3"
#define FIGURE_PROCESS_LINE "dt 3 lw 3"
#define FIGURE_TARGET_LINE "dt 2 lw 3 lc rgb '#555555'"
#define FIGURE_BOUND_LINE "dt 2 lw 4 lc rgb '#555555'"
#define FIGURE_LIMIT_LINE "dt 4 lw 3 lc rgb '#000000'"

#endif
