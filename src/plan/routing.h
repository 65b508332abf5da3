/* SPDX-License-Identifier: MIT */
/* The routing that a plan is for: recorded, or made. */
#ifndef UFM_PLAN_ROUTING_H
#define UFM_PLAN_ROUTING_H

#include <stdbool.h>

#include "plan/shape.h"
#include "trace/trace.h"

/* UFM_EINVAL unless `text` is uniform, trace:FILE, sticky:PRESET or sticky:OVERLAP,SKEW,DRIFT. Opens nothing. */
ufm_status plan_routing_check(const char *text);

typedef struct plan_routing_config {
	const char *spec;
	uint64_t seed;
	/* What will be walked: steps of so many tokens, each of a sequence of its own or following each other. A
	 * recorded trace has what it has; a made one may have more, or is read again. */
	uint32_t step_tokens, steps;
	bool side_by_side;
	/* Of the routers of ufm bench: tokens of a step that read the same one have the first one's experts. 0: each has
	 * its own. */
	uint32_t columns;
	const plan_shape *shape;
} plan_routing_config;

/* Whether ufm bench routes by just these ids; else its routers choose others that are as likely. */
bool plan_routing_is_known(const char *text);

/* UFM_EFILE, UFM_EFORMAT: what of the file does not suit the shape. */
ufm_status plan_routing_open(const plan_routing_config *config, trace *out);

/* For people: "uniform routing", "the recorded routing of FILE", … */
void plan_routing_words(const plan_routing_config *config, char *words, size_t size);

#endif
