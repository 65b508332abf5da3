/* SPDX-License-Identifier: MIT */
/* One budget, one way of running: hits, bytes and time of prefill and decode. */
#ifndef UFM_PLAN_PREDICT_H
#define UFM_PLAN_PREDICT_H

#include "plan/division.h"
#include "plan/walk.h"

typedef struct predict_config {
	const plan_shape *shape;
	const plan_machine *machine;
	const ufm_policy *policy;
	const division *division;
	const budget *budget;
	bool given; /* the caller brings the ids */
	bool cpu;   /* the CPU path, if it pays */
} predict_config;

/* Whether misses would be shared with the CPU: it was measured, and brings 5 % (pager/cpu_path.c). */
bool predict_cpu_pays(const plan_machine *machine);
timing_terms predict_terms(const predict_config *config);

/* Phases one after the other on one engine, results[i] of phases[i]. */
ufm_status predict_run(const predict_config *config, const walk_phase *phases, uint32_t count,
                       walk_result *results);

#endif
