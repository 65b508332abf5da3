/* SPDX-License-Identifier: MIT */
/* Values that follow from others, and what no option can check alone. */
#include "cli/bench/config.h"

#include <assert.h>
#include <inttypes.h>

#include "base/limits.h"
#include "base/status.h"
#include "cli/modes/options.h"

#define TOKENS_MAX (1u << 24)

ufm_expert_kind bench_kind(const bench_config *c)
{
	static const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	return kinds[c->kind];
}

ufm_dtype bench_dtype(const bench_config *c)
{
	return c->dtype ? UFM_BF16 : UFM_F32;
}

uint32_t bench_experts_min(const bench_config *c)
{
	uint32_t least = UINT32_MAX;
	for (uint32_t i = 0; i < c->experts.count; i++)
		least = c->experts.items[i] < least ? c->experts.items[i] : least;
	return least;
}

void bench_config_origin(option_state *state, const char *option, const char *origin)
{
	uint32_t index = options_find(&bench_options, option);
	assert(index < OPTIONS_MAX);
	state->origins[index] = origin;
}

static ufm_status check_tokens(const bench_config *c)
{
	uint64_t tokens = (uint64_t)c->batch * c->seq;
	if (tokens > TOKENS_MAX)
		return status_fail(UFM_EINVAL,
		                   "--batch x --seq: found %" PRIu64 " tokens a step, expected at most %u",
		                   tokens, TOKENS_MAX);
	if (tokens * c->top_k > 1u << 30)
		return status_fail(UFM_EINVAL,
		                   "--batch x --seq x --top-k: found %" PRIu64
		                   " rows a step, expected at most %u",
		                   tokens * c->top_k, 1u << 30);
	return UFM_OK;
}

static bool uses_mode(const bench_config *c, placement_mode mode)
{
	for (uint32_t i = 0; i < c->modes.count; i++) {
		if (c->modes.items[i] == (uint32_t)mode)
			return true;
	}
	return false;
}

static ufm_status check_sizes(const bench_config *c)
{
	if (c->top_k > bench_experts_min(c))
		return status_fail(UFM_EINVAL,
		                   "--top-k: found %u, expected at most %u, the smallest of --experts",
		                   c->top_k, bench_experts_min(c));
	/* The target binds ufm alone. */
	return mode_check_sizes(c->vram_target_bytes, c->headroom_bytes,
	                        uses_mode(c, MODE_UFM) ? c->vram_limit_bytes : 0);
}

static void derive(bench_config *c, option_state *state)
{
	limits here;
	if (c->max_tokens == 0) {
		c->max_tokens = bench_tokens(c);
		bench_config_origin(state, "max-tokens", "batch x seq");
	} else if (c->max_tokens > bench_tokens(c)) {
		/* A workspace larger than any call holds nothing more. */
		c->max_tokens = bench_tokens(c);
		bench_config_origin(state, "max-tokens", "batch x seq, which is less than was asked for");
	}
	if (c->threads == 0) {
		limits_read(&here);
		c->threads = here.cores;
		bench_config_origin(state, "threads", "cores of this process");
	}
}

ufm_status bench_config_check(const bench_config *c)
{
	ufm_status status = check_tokens(c);
	if (!status)
		status = mode_check_cpu(c->cpu_assist, c->cpu_share);
	return status ? status : check_sizes(c);
}

ufm_status bench_config_resolve(bench_config *c, option_state *state)
{
	ufm_status status = bench_config_check(c);
	if (!status)
		derive(c, state);
	return status;
}
