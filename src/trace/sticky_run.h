/* SPDX-License-Identifier: MIT */
/* Routing like a recorded one, by the synthetic router, for the geometry of a run. */
#ifndef UFM_TRACE_STICKY_RUN_H
#define UFM_TRACE_STICKY_RUN_H

#include "trace/sticky.h"

/* PRESET or OVERLAP,SKEW,DRIFT: a preset's shape, or no shape (experts 0). UFM_EINVAL. */
ufm_status sticky_parse(const char *text, sticky_config *out);

typedef struct sticky_run {
	uint64_t seed;
	uint32_t layers, experts, top_k;
	uint32_t tokens;    /* a step: the trace has enough for two */
	uint32_t sequences; /* that decode side by side; 0: one */
} sticky_run;

/* A trace of the run's geometry, about a second's work long, by the router's overlap, skew and drift. As
 * trace_sticky. */
ufm_status sticky_route(const sticky_config *router, const sticky_run *run, trace *out);

#endif
