/* SPDX-License-Identifier: MIT */
/* Threads that take host blocks through the CPU, piece by piece, as fast as they can. */
#ifndef UFM_PROBE_TEAM_H
#define UFM_PROBE_TEAM_H

#include "probe/probe.h"

typedef struct probe_team probe_team;

/* The cores that this process may use less one, which is the driver's; at least one. */
uint32_t probe_team_threads(void);

/* `threads` counts the caller of probe_team_run; the blocks outlive the team. */
ufm_status probe_team_open(const probe_blocks *blocks, uint32_t threads, probe_team **out);
void probe_team_close(probe_team *team); /* NULL is allowed */

typedef enum probe_work {
	PROBE_READ,    /* the bytes alone */
	PROBE_PRODUCT, /* an expert's products for one token, by the best kernels */
} probe_work;

/* Goes on through the bank's blocks, where the last run ended, until `more` says no: the caller's thread
 * asks after each of its pieces. Gives decimal GB/s. */
double probe_team_run(probe_team *team, probe_work work, probe_more more, void *ctx);

#endif
