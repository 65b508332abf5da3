/* SPDX-License-Identifier: MIT */
/* The routing that a plan is for: recorded, or made. */
#ifndef CLI_PLAN_ROUTING_H
#define CLI_PLAN_ROUTING_H

#include "cli/plan/shape.h"
#include "trace/trace.h"

/* UFM_EINVAL unless `text` is uniform, trace:FILE, sticky:PRESET or sticky:OVERLAP,SKEW,DRIFT. Opens nothing. */
ufm_status routing_check(const char *text);

typedef struct routing_config {
	const char *spec;
	uint64_t seed;
	uint64_t tokens;    /* that are needed; a recorded trace has what it has */
	uint32_t sequences; /* of a made one */
	const plan_shape *shape;
} routing_config;

/* UFM_EFILE, UFM_EFORMAT: what of the file does not suit the shape. */
ufm_status routing_open(const routing_config *config, trace *out);

/* For people: "uniform routing", "the recorded routing of FILE", … */
void routing_words(const routing_config *config, char *words, size_t size);

#endif
