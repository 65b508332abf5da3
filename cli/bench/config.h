/* SPDX-License-Identifier: MIT */
/* What `ufm bench` was asked to do: the option table, its values, and the checks between them. */
#ifndef CLI_BENCH_CONFIG_H
#define CLI_BENCH_CONFIG_H

#include "cli/modes/mode.h"
#include "cli/options.h"

typedef enum bench_format { FORMAT_MD, FORMAT_CSV, FORMAT_JSON, FORMAT_JSONL } bench_format;

typedef struct bench_config {
	option_list modes, experts;
	uint32_t layers, d_model, d_hidden, kind, dtype, top_k, norm_topk;
	uint32_t batch, seq, steps, warmup, max_tokens, ring, threads;
	uint32_t quick, no_out, no_figures, verbose, format;
	uint64_t seed, vram_target_bytes, headroom_bytes, vram_limit_bytes;
	double link_gbps;
	const char *policy, *backend, *workload, *out, *cpu_assist, *cpu_share;
} bench_config;

extern const option_table bench_options;

ufm_expert_kind bench_kind(const bench_config *c);
ufm_dtype bench_dtype(const bench_config *c);
static inline uint32_t bench_tokens(const bench_config *c)
{
	return c->batch * c->seq;
}
uint32_t bench_experts_min(const bench_config *c);

/* Checks what one option alone cannot know. A top_k of 0 is not known yet. */
ufm_status bench_config_check(const bench_config *c);
/* Checks again and fills what follows from other values (max-tokens, threads), noting where it came
 * from. */
ufm_status bench_config_resolve(bench_config *c, option_state *state);

/* Notes that a command set an option itself, and why ("from the trace"). */
void bench_config_origin(option_state *state, const char *option, const char *origin);

#endif
