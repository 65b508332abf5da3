/* SPDX-License-Identifier: MIT */
/* The fields of a row of `ufm replay`. */
#ifndef CLI_REPLAY_ROW_H
#define CLI_REPLAY_ROW_H

#include <jansson.h>

#include "cli/replay/config.h"

/* One policy over the whole trace. */
typedef struct replay_result {
	const ufm_policy *policy;
	replay_count total, *layers;  /* [trace->layers] */
	uint64_t spent_ns;            /* processor time of the thread */
	double cost_used, cost_saved; /* of uses and of hits; 0 without costs */
} replay_result;

/* What stands beside a policy's hits. */
typedef struct replay_row {
	const char *trace_name;
	const replay_config *config; /* of the policy */
	const replay_result *result, *bound, *lru, *min, *bypass;
	uint64_t steps;        /* that were counted */
	uint64_t expert_bytes; /* 0: not known */
	double read_gbps;      /* 0: not known */
} replay_row;

json_t *replay_row_json(const replay_row *row);

#endif
