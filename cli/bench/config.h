/* SPDX-License-Identifier: MIT */
/* What `ufm bench` was asked to do: the option table, its values, and the checks between them. */
#ifndef CLI_BENCH_CONFIG_H
#define CLI_BENCH_CONFIG_H

#include "bank/bank_shape.h"
#include "cli/modes/mode.h"
#include "cli/options.h"

/* What a step is. The order is that of the option's choices. */
typedef enum bench_phase {
	PHASE_STEPS,   /* batch x seq tokens */
	PHASE_DECODE,  /* one token of each of batch sequences */
	PHASE_PREFILL, /* batch prompts of seq tokens */
	PHASE_COUNT
} bench_phase;
#define PHASE_CHOICES "steps|decode|prefill"

typedef struct bench_config {
	option_list modes, experts, phases;
	uint32_t phase; /* of a run; see bench_config_for_phase */
	uint32_t preset, scoring, math;
	uint32_t layers, d_model, d_hidden, kind, dtype, top_k, norm_topk;
	uint32_t batch, seq, steps, max_tokens, ring, threads;
	uint32_t geometry, quick, no_out, no_figures, verbose, wide, format, probe, ids;
	uint64_t seed, vram_target_bytes, headroom_bytes, vram_limit_bytes;
	double link_gbps;
	const char *policy, *backend, *workload, *warmup, *out, *timeline, *record_trace, *cpu_assist,
		*cpu_share, *model, *prefix;
	const bank_shape *shape; /* of --model, whose bank is open; or NULL */
} bench_config;

extern const option_table bench_options;

ufm_expert_kind bench_kind(const bench_config *c);
/* Of its experts. UFM_EINVAL: a width that the type of the weights cannot have. */
ufm_status bench_desc(const bench_config *c, ufm_expert_desc *out);
static inline uint32_t bench_tokens(const bench_config *c)
{
	return c->batch * c->seq;
}
static inline bool bench_probes(const bench_config *c)
{
	return c->probe == 0; /* the first choice */
}
/* Calls bring the ids that the workload knows, so that the host has those of every layer ahead. */
static inline bool bench_ids_ahead(const bench_config *c)
{
	return c->ids == 1; /* the second choice */
}
uint32_t bench_experts_min(const bench_config *c);

const char *bench_phase_name(bench_phase phase);
ufm_scoring bench_scoring(const bench_config *c);

/* Gives the preset's shape to every option that was not on the command line. */
void bench_config_preset(bench_config *c, option_state *state);

/* No file that is written is what a workload reads, or another one that is written. */
ufm_status bench_config_check_files(const bench_config *c);
/* Checks what one option alone cannot know. A top_k of 0 is not known yet. */
ufm_status bench_config_check(const bench_config *c);
/* Checks again and fills what follows from other values, noting where it came from: threads, and if all
 * runs are of one phase, seq and max-tokens. */
ufm_status bench_config_resolve(bench_config *c, option_state *state);
/* The configuration of the runs of one phase, of a checked one: seq is 1 in decode, max_tokens at most
 * the tokens of a step. */
bench_config bench_config_for_phase(const bench_config *c, bench_phase phase);

/* Notes that a command set an option itself, and why ("from the trace"). */
void bench_config_origin(option_state *state, const char *option, const char *origin);

#endif
