/* SPDX-License-Identifier: MIT */
/*
 * The limit of a step: what is left of its time when policy, paths and overhead are perfect.
 *
 * The resident floor, or the reads of the offline optimum with bypass over link and CPU together, whichever is
 * longer. A floor (floor.h) counts the run's own misses, so it says nothing about the policy that missed them; a limit
 * counts those that nobody could have spared with as many slots, ring included. So a run is judged by one number.
 */
#ifndef UFM_REPLAY_LIMIT_H
#define UFM_REPLAY_LIMIT_H

#include <stdint.h>

#include "trace/trace.h"

/* What was run: `warmup` and then `steps` steps of `tokens` tokens, read from the routing as workload.h says. */
typedef struct limit_run {
	const trace *routing;
	uint32_t layers, experts; /* of the run: at most the routing's layers, at least its experts */
	uint32_t tokens;          /* a step, >= 1 */
	uint32_t sequences;       /* side by side, as workload_config.sequences */
	uint32_t slots;           /* of all layers together, ring included; >= 1 */
	uint64_t warmup, steps;   /* steps >= 1 */
} limit_run;

/* Experts that a measured step reads on average, by the optimum over the whole run, which begins with empty slots.
 * UFM_EINVAL, UFM_ENOMEM. */
ufm_status limit_reads(const limit_run *run, double *reads);

/* Of link and CPU together while both run, or of the link alone where that is more or nothing else was probed. Decimal
 * GB/s. */
double limit_gbps(double link_gbps, double sum_link_gbps, double sum_cpu_gbps);

/* gbps > 0. */
double limit_ms(double resident_ms, double reads, double expert_bytes, double gbps);

#endif
