/* SPDX-License-Identifier: MIT */
/* Reloads that do not all cost alike. */
#ifndef CLI_REPLAY_COST_H
#define CLI_REPLAY_COST_H

#include "replay/replay.h"

typedef struct replay_cost {
	float *each; /* [layers, experts]; NULL: all alike */
} replay_cost;

/* FILE.npy: f32 or f64 [layers, experts] of the trace, finite and above 0. path NULL: none. UFM_EFILE, UFM_EFORMAT
 * name the file; UFM_ENOMEM. */
ufm_status replay_cost_read(const char *path, const trace *t, replay_cost *out);
void replay_cost_free(replay_cost *cost); /* a zeroed one is allowed */

/* Sums of one run. */
typedef struct cost_sums {
	const float *each; /* [layers, experts] */
	uint32_t experts;
	double used, saved;
} cost_sums;

replay_observer cost_observer(cost_sums *sums);

#endif
