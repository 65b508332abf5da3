/* SPDX-License-Identifier: MIT */
/* Routing traces, and a cache driven through them the way an engine drives it. */
#ifndef UFM_TESTS_REPLAY_H
#define UFM_TESTS_REPLAY_H

#include <ufm/policy.h>

#include "base/rng.h"
#include "cache/cache.h"

typedef struct trace_event {
	uint32_t layer, first, n; /* members [first, first + n) */
} trace_event;

typedef struct trace {
	uint32_t layers, experts;
	uint32_t event_count, member_count;
	trace_event *events;
	cache_member *members;
} trace;

/* Room for a number of events and members; aborts when there is no memory. */
void trace_init(trace *t, uint32_t layers, uint32_t experts, uint32_t events, uint32_t members);
void trace_free(trace *t);
/* Appends an event; the members follow by trace_add. */
void trace_begin(trace *t, uint32_t layer);
void trace_add(trace *t, uint32_t expert);
/* Fills in next_event. Call it when the trace is complete. */
void trace_link(trace *t);

/* Events of 1 … members_max different experts. skew 0: uniform; larger: the low ids more often. */
void trace_random(trace *t, rng *r, uint32_t layers, uint32_t experts, uint32_t events,
                  uint32_t members_max, double skew);
/* Recorded ids [tokens, layers, ranks]: one layer's events (as layer 0 of 1), or all in turn when
 * layer is UINT32_MAX. */
void trace_from_ids(trace *t, const uint8_t *ids, uint64_t tokens, uint32_t layers, uint32_t ranks,
                    uint32_t experts, uint32_t layer);

/* One event: hits are counted, pinned and unpinned; then each miss is placed, pinned, loaded and
 * unpinned, in the order of `members`. Returns the hits. */
uint32_t replay_event(cache *c, uint32_t layer, uint32_t experts, const cache_member *members,
                      uint32_t n);

/* The hits of a whole trace on a cache that starts empty. hits_at: NULL, or the hits of each event. */
uint64_t replay_trace(const trace *t, const ufm_policy *policy, uint32_t slots, uint32_t ring,
                      uint32_t *hits_at);

/* A policy that forwards to `inner` and aborts when the cache breaks the rules of policy.h, or the
 * policy answers with a key that is locked or not inserted. One at a time. */
const ufm_policy *policy_witness(const ufm_policy *inner);
/* The places of the moment, where they are not as many as the policy was opened for. */
void policy_witness_places(uint32_t places);
/* Whether the witness has a key as inserted. */
bool policy_witness_has(uint32_t key);
uint32_t policy_witness_count(void);

#endif
