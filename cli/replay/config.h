/* SPDX-License-Identifier: MIT */
/* What `ufm replay` was asked to do. */
#ifndef CLI_REPLAY_CONFIG_H
#define CLI_REPLAY_CONFIG_H

#include <ufm/policy.h>

#include "cli/options.h"
#include "replay/predict.h"
#include "replay/replay.h"

#define REPLAY_LIST_MAX 64

/* Of a cache. */
typedef struct replay_capacity {
	enum { CAPACITY_SLOTS, CAPACITY_PERCENT, CAPACITY_BYTES } unit;
	double percent;
	uint64_t value; /* slots or bytes */
} replay_capacity;

typedef struct replay_options {
	const char *capacity, *policy, *sequences, *cost, *admission, *out;
	option_list scopes, batches, predict, guesses;
	uint32_t experts, preset, ring, together, cold, part, format, wide, by_layer;
	uint64_t expert_bytes, warmup, steps, seed;
	double read_gbps; /* 0: not given */
	uint32_t no_figures;
} replay_options;

extern const option_table replay_options_table;

/* UFM_EINVAL with a line that does not name the option. */
ufm_status replay_check_capacities(const char *text);
ufm_status replay_check_policies(const char *text);
ufm_status replay_check_admission(const char *text);

/* Of texts that were checked; at most REPLAY_LIST_MAX. */
uint32_t replay_capacities(const char *text, replay_capacity *out);
uint32_t replay_policies(const char *text, const ufm_policy **out);
/* NULL: zeros. */
admit_terms replay_admission(const char *text);

/* Slots of one cache for a capacity. UFM_EINVAL names --capacity and what is wrong. */
ufm_status replay_slots(const replay_capacity *capacity, const trace *t, replay_scope scope,
                        uint64_t expert_bytes, uint32_t *slots);

const char *replay_scope_name(replay_scope scope);

#endif
