/* SPDX-License-Identifier: MIT */
/* Figures of a results folder. */
#ifndef CLI_PLOT_H
#define CLI_PLOT_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* Reads what lies in the folder: runs.jsonl and telemetry of ufm bench for throughput, memory and timeline,
 * replay.jsonl of ufm replay for hit_rate; writes each as .dat, .gp, .png and .svg. UFM_EFILE, UFM_EFORMAT name the input; UFM_EUNSUPPORTED: gnuplot is missing, the
 * scripts are there. *drawing on failure: the input was read, and UFM_EFILE names an output. */
ufm_status plot_folder(const char *folder, bool *drawing);

#endif
