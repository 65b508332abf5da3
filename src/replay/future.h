/* SPDX-License-Identifier: MIT */
/* When each member of each event is demanded next: what an offline bound knows. */
#ifndef UFM_REPLAY_FUTURE_H
#define UFM_REPLAY_FUTURE_H

#include "replay/replay.h"

typedef struct future {
	uint32_t *next; /* [members of all events, in order]; number of the event; UINT32_MAX: never */
	uint64_t count;
} future;

/* Events are numbered through all steps and layers, from 0. UFM_EINVAL: more than 2^32 - 1 of them. */
ufm_status future_open(const replay_config *config, future *out);
void future_close(future *f); /* a zeroed one is allowed */

#endif
