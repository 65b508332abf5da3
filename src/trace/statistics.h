/* SPDX-License-Identifier: MIT */
/*
 * What routing does, apart from any cache: how much of a token's set the next one keeps, after how many
 * tokens an expert comes back, and what an LRU cache of any size would hit.
 */
#ifndef UFM_TRACE_STATISTICS_H
#define UFM_TRACE_STATISTICS_H

#include "trace/trace.h"

#define TRACE_DISTANCES 1024u

/* Sums over layers, each with a history of its own that goes on from sequence to sequence. */
typedef struct trace_statistics {
	uint32_t experts, ranks;
	uint64_t uses;
	uint64_t first;      /* of them of an expert that the layer had never used */
	uint64_t follows;    /* of them of tokens that have one before them in their sequence */
	uint64_t repeats;    /* of those what the token before had chosen, too */
	uint64_t *depths;    /* [experts]; uses by how many experts of the layer were used since, at the
	                      beginning of the event: Mattson's stack distance (1970), with events */
	uint64_t *distances; /* [TRACE_DISTANCES + 1]; [d]: uses d + 1 tokens after the last one of the
	                        expert in the layer; the last: further away */
} trace_statistics;

/* Of layers first … first + layers - 1, which the trace has; 0: all from the first. UFM_ENOMEM. Time
 * grows with the depths. */
ufm_status trace_measure(const trace *t, uint32_t first, uint32_t layers, trace_statistics *out);
void trace_statistics_close(trace_statistics *s); /* zeroes *s; a zeroed one is allowed */

/* Mean share of a set that the token before had chosen; 0 where no token has one before it. */
double trace_overlap(const trace_statistics *s);
/* Hit rate of one LRU cache of `slots` a layer, no member of an event evicted by another; exact from
 * slots = ranks on, where a cache holds every event. */
double trace_lru_hit_rate(const trace_statistics *s, uint32_t slots);
/* Share of all uses whose expert was used at most `tokens` (<= TRACE_DISTANCES) tokens before. */
double trace_distance_share(const trace_statistics *s, uint32_t tokens);

#endif
