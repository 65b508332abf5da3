/* SPDX-License-Identifier: MIT */
/* Figures of a results folder. */
#ifndef CLI_PLOT_H
#define CLI_PLOT_H

#include <ufm/ufm.h>

/* Reads what lies in the folder: runs.jsonl and telemetry of ufm bench for throughput, memory and timeline,
 * replay.jsonl of ufm replay for hit_rate; writes each as .dat, .gp, .png and .svg. UFM_EFILE, UFM_EFORMAT name the input; UFM_EUNSUPPORTED: gnuplot is missing, the
 * scripts are there. An output that cannot be written, or a script that fails, is UFM_EBUSY: a
 * failure of neither input nor environment. */
ufm_status plot_folder(const char *folder);

#endif
