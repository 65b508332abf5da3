/* SPDX-License-Identifier: MIT */
/* A figure NAME is a script NAME.gp and what it reads, NAME.dat; gnuplot makes NAME.png and NAME.svg of it. */
#ifndef CLI_PLOT_GNUPLOT_H
#define CLI_PLOT_GNUPLOT_H

#include <limits.h>
#include <stdio.h>
#include <ufm/ufm.h>

#include "base/replace.h"

typedef struct gnuplot_file {
	char path[PATH_MAX];
	FILE *file;
	replacement replaced;
} gnuplot_file;

/* FOLDER/NAME.ENDING for writing, which stays as it was until the file is closed. UFM_EFILE names the path: it cannot be
 * written. Closing it after anything was lost, of its text or of JSON, leaves it as it was: UFM_EFILE, UFM_ENOMEM. */
ufm_status gnuplot_open(gnuplot_file *o, const char *folder, const char *name, const char *ending);
ufm_status gnuplot_close(gnuplot_file *o);

/* Runs gnuplot on FOLDER/NAME.gp, in the folder. UFM_EUNSUPPORTED: it is not installed, or may not be run. UFM_ENOMEM: no
 * process can be started. UFM_EFILE: it failed, or a figure is not whole. */
ufm_status gnuplot_draw(const char *folder, const char *name);

#endif
