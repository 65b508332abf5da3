/* SPDX-License-Identifier: MIT */
/* What a row of `ufm bench` says of a case, and the plan of that case. */
#ifndef CLI_PLAN_ROW_CASE_H
#define CLI_PLAN_ROW_CASE_H

#include "cli/plan/config.h"
#include "cli/plan/machine.h"
#include "plan/predict.h"

typedef struct row_case {
	const json_t *row;
	plan_shape shape;
	plan_machine machine;
	division_config division;
	bool decode, known, given; /* known: its very ids; given: to the host, ahead */
	bool cpu, chooses;         /* the CPU path was on; the engine chose whether to use it */
	uint32_t batch, seq, tokens, warmup, steps;
	uint32_t ring; /* slots that it had; 0: not said */
	uint64_t target_bytes, seed;
	double tokens_per_s; /* measured, as are the next */
	uint64_t slots, uses, resident_uses;
	const ufm_policy *policy;
	char workload[1024];
} row_case;

/* As long as the row lives. A recorded workload may lie where the configuration says. UFM_EFORMAT names the field
 * that is out of range, what was found and what was expected. */
ufm_status row_case_read(const plan_config *config, const json_t *row, row_case *out);

typedef struct row_outcome {
	double tokens_per_s, hit_rate;
	bool cpu; /* the way that is planned uses it */
	budget budget;
	timing_bound bound;
	walk_result walked;
} row_outcome;

/* Where the engine chose: the quicker way, of equal ones the link. May set the ring that the row had. */
ufm_status row_case_predict(row_case *k, row_outcome *out);

#endif
