/* SPDX-License-Identifier: MIT */
/* The most arithmetic that the machine does: asked once a sweep, on a device opened for it, while no engine holds memory. */
#ifndef UFM_PROBE_PEAK_H
#define UFM_PROBE_PEAK_H

#include <ufm/backend.h>

typedef struct peak_config {
	const char *backend; /* by name, not "auto" */
	uint32_t threads;    /* of the cpu backend; 0: its default */
	ufm_dtype dtype;
	ufm_math math;
} peak_config;

/* What is not known is no failure, nor is a device that cannot be used, as its rows will say: then gflops is 0 and why
 * says why. */
typedef struct peak_found {
	ufm_peak peak;
	char why[256];
} peak_found;

/* UFM_EBACKEND; UFM_EFILE: the user named a library that cannot be used. */
ufm_status peak_ask(const peak_config *config, peak_found *out);

/* The rate that floors count with, and where it is from: the better of that and what our own products were seen to do,
 * which a machine that was busy for a moment may have shown more of. 0: neither is known. */
double peak_used(const peak_found *found, double own_gflops, const char **source);

#endif
