/* SPDX-License-Identifier: MIT */
/*
 * The steps before the first that counts. Pure.
 *
 * What is measured while slots are empty is a cache that fills, not one that works. So where nobody says how many
 * steps to warm up by, ufm goes on until every place has an expert, and the other modes, which have nothing to fill,
 * begin where it did: rows of one sweep measure the same tokens.
 */
#ifndef CLI_BENCH_WARMUP_H
#define CLI_BENCH_WARMUP_H

#include "cli/bench/config.h"

/* A workload whose demand is smaller than the slots never fills them. */
#define WARMUP_STEPS_MAX 1000u
#define WARMUP_NS_MAX 60000000000ull
#define WARMUP_QUICK_NS_MAX 6000000000ull

typedef struct warmup {
	uint32_t from;  /* the workload's step that is its first */
	uint32_t steps; /* all of them; with until_filled the most */
	bool until_filled;
	uint64_t most_ns; /* with until_filled */
} warmup;

/* UFM_EINVAL unless it is auto or a number of steps. */
ufm_status warmup_check(const char *text);

/* begins: the step from which ufm measured in this sweep, at least 1; 1 where it has not. */
warmup warmup_of(const bench_config *config, placement_mode mode, uint32_t begins);

/* After `done` steps: whether the next one is the last. It goes as those that count, so there is one after the slots
 * are filled. */
bool warmup_ends(const warmup *w, uint32_t done, bool filled, uint64_t spent_ns);

#endif
