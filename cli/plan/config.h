/* SPDX-License-Identifier: MIT */
/* What `ufm plan` was asked: the option table and its values. */
#ifndef CLI_PLAN_CONFIG_H
#define CLI_PLAN_CONFIG_H

#include "cli/options.h"

typedef struct plan_config {
	uint32_t preset, card, layers, experts, top_k, d_model, d_hidden, kind, dtype;
	uint32_t batch, prompt, ring, max_tokens, cores, routing, cpu, format, no_figures, verbose,
		wide, against;
	uint64_t headroom_bytes, ram_bytes, seed;
	double link_gbps, dram_gbps, hbm_gbps, disk_gbps, gflops;
	double prefetch_recall, prefetch_guesses;
	const char *model, *prefix, *vram_target, *machine, *backend, *workload, *policy, *out;
} plan_config;

extern const option_table plan_options;

#endif
