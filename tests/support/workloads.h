/* SPDX-License-Identifier: MIT */
/* Routing of layers that take one cache in turn, made up. Several of these describe how a policy
 * behaves; none is a claim about a model. */
#ifndef UFM_TESTS_WORKLOADS_H
#define UFM_TESTS_WORKLOADS_H

#include "support/replay.h"

typedef struct workload {
	const char *name;
	bool sweeps; /* every event demands all or nearly all of its layer */
	uint32_t layers, experts, top_k;
	uint32_t tokens; /* routed together at each step: an event is the union of their experts */
	uint32_t steps;
	double skew;   /* how often expert of popularity rank r is drawn: (r + 1)^-skew; 0: equally */
	double sticky; /* chance that an expert of a token's last step is kept */
	uint64_t seed;
} workload;

/* Steps of a cycle over all layers. Which experts of a layer are popular is drawn by layer. */
void workload_trace(const workload *w, trace *out);

/* The workloads that policies are compared on; NULL past the end. */
const workload *workload_at(uint32_t index);

/* Slots of the least budgets first: percent of all experts, from 5 to 100, at least 1. */
#define WORKLOAD_BUDGETS 9
extern const uint32_t workload_percent[WORKLOAD_BUDGETS];
uint32_t workload_slots(uint32_t keys, uint32_t percent);

#endif
