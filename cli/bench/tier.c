/* SPDX-License-Identifier: MIT */
/* Opens what is not there, after closing what is in its place. */
#include "cli/bench/tier.h"

#include "base/clock.h"

static void close_host(bench_tier *tier)
{
	ufm_host_close(tier->host);
	tier->host = NULL;
}

void tier_close(bench_tier *tier)
{
	close_host(tier);
	ufm_bank_close(tier->bank);
	tier->bank = NULL;
}

bool tier_pageable(placement_mode mode)
{
	ufm_host_config host;
	UFM_STRUCT_INIT(&host);
	mode_ask_host(mode, &host);
	return host.pageable;
}

ufm_status tier_open_bank(bench_tier *tier, const bench_config *c, uint32_t experts)
{
	ufm_bank_synthetic_config bank;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_status status;
	if (tier->bank && (tier->experts == experts || c->model))
		return UFM_OK;
	tier_close(tier);
	UFM_STRUCT_INIT(&bank);
	bank.layers = c->layers;
	bank.experts = experts;
	bank.desc = &desc;
	bank.seed = c->seed;
	status = bench_desc(c, &desc);
	if (!status)
		status = ufm_bank_synthetic(&bank, &tier->bank);
	tier->experts = experts;
	return status;
}

bool tier_has_host(const bench_tier *tier, placement_mode mode)
{
	return tier->host && tier->pageable == tier_pageable(mode);
}

ufm_status tier_open_host(bench_tier *tier, const bench_config *c, const char *backend,
                          placement_mode mode, filling *bar, uint64_t *spent_ns)
{
	ufm_host_config host;
	ufm_status status;
	*spent_ns = 0;
	if (tier_has_host(tier, mode))
		return UFM_OK;
	close_host(tier);
	UFM_STRUCT_INIT(&host);
	host.backend = backend;
	host.fill_threads = c->threads;
	mode_ask_host(mode, &host);
	filling_watch(bar, &host);
	status = ufm_host_open(tier->bank, &host, &tier->host);
	tier->pageable = host.pageable;
	*spent_ns = clock_now_ns() - bar->begin_ns;
	return status;
}
