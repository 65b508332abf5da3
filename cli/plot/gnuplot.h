/* SPDX-License-Identifier: MIT */
/* A figure NAME is a script NAME.gp and what it reads, NAME.dat; gnuplot makes NAME.png and NAME.svg of it. */
#ifndef CLI_PLOT_GNUPLOT_H
#define CLI_PLOT_GNUPLOT_H

#include <limits.h>
#include <stdio.h>
#include <ufm/ufm.h>

typedef struct gnuplot_file {
	char path[PATH_MAX];
	FILE *file;
} gnuplot_file;

/* FOLDER/NAME.ENDING for writing. UFM_EBUSY names the path; closing says whether anything was lost. */
ufm_status gnuplot_open(gnuplot_file *o, const char *folder, const char *name, const char *ending);
ufm_status gnuplot_close(gnuplot_file *o);

/* Runs gnuplot on FOLDER/NAME.gp, in the folder. UFM_EUNSUPPORTED: it is not installed. */
ufm_status gnuplot_draw(const char *folder, const char *name);

#endif
