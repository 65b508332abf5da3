/* SPDX-License-Identifier: MIT */
/* What `ufm forward` was asked to do: the option table, its values, and the checks between them. */
#ifndef CLI_FORWARD_CONFIG_H
#define CLI_FORWARD_CONFIG_H

#include "cli/modes/mode.h"
#include "cli/options.h"

typedef enum forward_format { FORWARD_MD, FORWARD_JSON } forward_format;

/* A choice whose first word leaves the decision to the checkpoint. */
enum { FROM_CHECKPOINT = 0 };
enum { SCORING_SOFTMAX = 1, SCORING_SIGMOID };
enum { ACTIVATION_GELU = 1, ACTIVATION_SILU };

typedef struct forward_config {
	const char *weights, *prefix, *input, *output, *ids, *gates, *backend, *policy, *timeline,
		*record_trace;
	const char *cpu_assist, *cpu_share;
	uint64_t vram_target_bytes, headroom_bytes, vram_limit_bytes;
	uint32_t layer, mode, top_k, norm_topk, no_norm_topk, scoring, math, activation, f16_as;
	uint32_t max_tokens, threads, verbose, wide, format;
} forward_config;

extern const option_table forward_options;

/* Checks what one option alone cannot know. */
ufm_status forward_config_check(const forward_config *c, const option_state *state);

bool forward_was_given(const option_state *state, const char *option);
/* Notes where a value that was not given came from. */
void forward_origin(option_state *state, const char *option, const char *origin);

#endif
