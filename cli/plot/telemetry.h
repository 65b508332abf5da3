/* SPDX-License-Identifier: MIT */
/* The telemetry of one run, as figures need it. */
#ifndef CLI_PLOT_TELEMETRY_H
#define CLI_PLOT_TELEMETRY_H

#include <stddef.h>
#include <ufm/ufm.h>

typedef struct plot_sample {
	double t_s, device_gib, process_gib;
} plot_sample;

typedef struct plot_telemetry {
	plot_sample *samples;
	size_t count;
} plot_telemetry;

/* A file that is not there has no samples. Lines that hold no sample are left out with a warning. UFM_EFILE,
 * UFM_ENOMEM. */
ufm_status plot_telemetry_read(const char *path, plot_telemetry *out);
void plot_telemetry_free(plot_telemetry *telemetry);

#endif
