/* SPDX-License-Identifier: MIT */
/* Figures of a results folder. */
#ifndef CLI_PLOT_H
#define CLI_PLOT_H

#include <ufm/ufm.h>

/* Reads FOLDER/runs.jsonl and telemetry; writes throughput, memory and timeline as .dat, .gp, .png
 * and .svg. UFM_EFILE, UFM_EFORMAT name the input; UFM_EUNSUPPORTED: gnuplot is missing, the
 * scripts are there. An output that cannot be written, or a script that fails, is UFM_EBUSY: a
 * failure of neither input nor environment. */
ufm_status plot_folder(const char *folder);

#endif
