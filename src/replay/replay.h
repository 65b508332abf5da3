/* SPDX-License-Identifier: MIT */
/*
 * Policy and cache driven over a trace, without a device: what a capacity would hit. Pure.
 *
 * An event is a layer's set for one token, or the union of the sets of the tokens stepped together, in order
 * of first appearance: lane by lane, rank 0 first. Its members are told to the policy and, where they miss,
 * placed in that order; none of them is evicted by another, so members beyond the capacity pass by.
 */
#ifndef UFM_REPLAY_REPLAY_H
#define UFM_REPLAY_REPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/policy.h>

#include "cache/cache.h"
#include "schedule/admit.h"
#include "trace/trace.h"

struct future;

typedef enum replay_scope {
	REPLAY_LAYER, /* each layer has a cache of `slots` */
	REPLAY_POOL,  /* all layers share one of `slots`, as in the engine */
	REPLAY_AUTO,  /* one of `slots`, divided among the layers by what a slot more would gain each */
} replay_scope;

/* Sees every event before the cache does. Members that are not resident will miss. */
typedef struct replay_event {
	uint32_t layer;
	const cache *cache;
	uint32_t first_key; /* of the layer's expert 0 in that cache */
	const cache_member *members;
	uint32_t count;
	bool counted; /* not of the warm-up */
} replay_event;

typedef struct replay_observer {
	void (*event)(void *self, const replay_event *event);
	void *self;
} replay_observer;

typedef struct replay_config {
	const trace *trace;
	const ufm_policy *policy;
	replay_scope scope;
	uint32_t slots; /* of one cache, >= 1; more than it has experts count as all of them */
	/* Of these; 0: none, as research does. With a ring misses come in the engine's order, copied
	 * `together` at a time (0: 1). What holds everything has no ring. */
	uint32_t ring, together;
	/* With a ring: what an engine's CPU path admits, by the times that its engine was opened with. Zeros:
	 * the path is off. */
	admit_terms admit;
	/* Sequences stepped together, >= 1. A lane whose sequence ends takes the next one. A single sequence is
	 * cut into as many equal runs; of several there must be as many. */
	uint32_t batch;
	bool cold;                    /* with batch 1: the caches are emptied when a sequence begins */
	uint32_t part, parts;         /* sequences part, part + parts, …; parts 0: all */
	uint64_t warmup_steps, steps; /* first not counted; then counted at most (0: all) */
	uint64_t seed;
	const float *cost; /* [layers, experts], as ufm_policy_config.cost; NULL: all alike */
	const struct future
		*future; /* of this trace, part, batch and steps, to be shared; NULL: made for the run */
	const replay_observer *observer; /* or NULL */
} replay_config;

typedef struct replay_count {
	uint64_t uses, hits;
} replay_count;

/* layers: [trace->layers], or NULL. UFM_EINVAL names the field, UFM_ENOMEM. */
ufm_status replay_run(const replay_config *config, replay_count *total, replay_count *layers);

/* The policy that bounds what `policy` could hit: what it must admit, its bound must, too. */
const ufm_policy *replay_bound_of(const replay_config *config);

#endif
