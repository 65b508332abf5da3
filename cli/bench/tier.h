/* SPDX-License-Identifier: MIT */
/* Bank and host tier of a sweep. Filling and page-locking a large bank takes longer than a run, so they stay
 * open from one run to the next as long as both want the same. */
#ifndef CLI_BENCH_TIER_H
#define CLI_BENCH_TIER_H

#include "cli/bench/config.h"
#include "cli/modes/filling.h"

typedef struct bench_tier {
	ufm_bank *bank;
	ufm_host *host;
	uint32_t experts; /* of the bank */
	bool pageable;    /* the host tier */
} bench_tier;

/* Whether a mode wants ordinary host memory. */
bool tier_pageable(placement_mode mode);

/* Leaves `tier->bank` as the bank with so many experts; a checkpoint's is there already. One with other experts is closed before, host tier
 * and all; the rest of the configuration is the same in a sweep. */
ufm_status tier_open_bank(bench_tier *tier, const bench_config *config, uint32_t experts);

/* Leaves `tier->host` as the open bank in such memory; there are never two. `backend` by name. `bar` shows
 * how far it is; *spent_ns is 0 if it was open already. */
bool tier_has_host(const bench_tier *tier, placement_mode mode);
ufm_status tier_open_host(bench_tier *tier, const bench_config *config, const char *backend,
                          placement_mode mode, filling *bar, uint64_t *spent_ns);

void tier_close(bench_tier *tier); /* engines on it are closed before */

#endif
