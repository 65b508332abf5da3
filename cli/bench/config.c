/* SPDX-License-Identifier: MIT */
/* Values that follow from others, and what no option can check alone. */
#include "cli/bench/config.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "base/status.h"
#include "cli/bench/workload.h"
#include "cli/modes/options.h"
#include "cli/presets.h"
#include "cli/same_file.h"
#include "cli/weights.h"

#define TOKENS_MAX (1u << 24)

ufm_expert_kind bench_kind(const bench_config *c)
{
	static const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	return kinds[c->kind];
}

ufm_status bench_desc(const bench_config *c, ufm_expert_desc *out)
{
	if (!c->shape)
		return weights_desc(c->dtype, bench_kind(c), c->d_model, c->d_hidden, out);
	*out = c->shape->desc;
	return UFM_OK;
}

ufm_scoring bench_scoring(const bench_config *c)
{
	return c->scoring ? UFM_SCORE_SIGMOID : UFM_SCORE_SOFTMAX;
}

const char *bench_phase_name(bench_phase phase)
{
	static const char *const names[PHASE_COUNT] = {"steps", "decode", "prefill"};
	return names[phase];
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

static bool by_hand(const option_state *state, const char *option)
{
	return option_is_by_hand(&bench_options, state, option);
}

static void take(option_state *state, const char *option, uint32_t *value, uint32_t preset_value)
{
	if (by_hand(state, option))
		return;
	*value = preset_value;
	bench_config_origin(state, option, "from the preset");
}

void bench_config_preset(bench_config *c, option_state *state)
{
	const preset *p = preset_at(c->preset);
	if (!p)
		return;
	if (!by_hand(state, "experts"))
		c->experts.count = 1;
	take(state, "experts", &c->experts.items[0], p->experts);
	take(state, "layers", &c->layers, p->layers);
	take(state, "d-model", &c->d_model, p->d_model);
	take(state, "d-hidden", &c->d_hidden, p->d_hidden);
	take(state, "kind", &c->kind, 2);
	take(state, "dtype", &c->dtype, WEIGHTS_BF16);
	take(state, "top-k", &c->top_k, p->top_k);
	take(state, "norm-topk", &c->norm_topk, p->norm_topk);
	take(state, "scoring", &c->scoring, p->scoring == UFM_SCORE_SIGMOID);
}

static bool only_decode(const bench_config *c)
{
	return c->phases.count == 1 && c->phases.items[0] == PHASE_DECODE;
}

static ufm_status check_tokens(const bench_config *c)
{
	uint64_t tokens = (uint64_t)c->batch * (only_decode(c) ? 1 : c->seq);
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

/* A workspace larger than any call holds nothing more. */
bench_config bench_config_for_phase(const bench_config *c, bench_phase phase)
{
	bench_config out = *c;
	out.phase = phase;
	if (phase == PHASE_DECODE)
		out.seq = 1;
	if (out.max_tokens == 0 || out.max_tokens > bench_tokens(&out))
		out.max_tokens = bench_tokens(&out);
	return out;
}

/* Values that are the same in every run are shown as they are. */
static void derive_phase(bench_config *c, option_state *state)
{
	uint32_t asked = c->max_tokens;
	if (c->phases.count != 1)
		return;
	*c = bench_config_for_phase(c, (bench_phase)c->phases.items[0]);
	if (only_decode(c))
		bench_config_origin(state, "seq", "decode");
	if (asked == 0)
		bench_config_origin(state, "max-tokens", "batch x seq");
	else if (asked > c->max_tokens)
		bench_config_origin(state, "max-tokens", "batch x seq, which is less than was asked for");
}

/* How far ufm has to go before its slots are filled says where the other modes begin. */
static void ufm_first(bench_config *c, option_state *state)
{
	uint32_t *modes = c->modes.items, at = 0;
	while (at < c->modes.count && modes[at] != (uint32_t)MODE_UFM)
		at++;
	if (strcmp(c->warmup, "auto") != 0 || at == 0 || at == c->modes.count)
		return;
	memmove(modes + 1, modes, at * sizeof *modes);
	modes[0] = MODE_UFM;
	bench_config_origin(state, "modes", "ufm first, as --warmup is auto");
}

static void derive(bench_config *c, option_state *state)
{
	limits here;
	ufm_first(c, state);
	derive_phase(c, state);
	if (c->threads == 0) {
		limits_read(&here);
		c->threads = here.cores;
		bench_config_origin(state, "threads", "cores of this process");
	}
}

/* A trace is one run's. */
static ufm_status check_record(const bench_config *c)
{
	uint64_t rows = (uint64_t)c->modes.count * c->experts.count * c->phases.count;
	if (!c->record_trace || rows == 1)
		return UFM_OK;
	return status_fail(UFM_EINVAL,
	                   "--record-trace: found a sweep of %" PRIu64
	                   " rows (--modes %u x --experts %u x --phase %u), expected one of each",
	                   rows, c->modes.count, c->experts.count, c->phases.count);
}

static ufm_status check_ids(const bench_config *c)
{
	if (!bench_ids_ahead(c) || workload_spec_routes(c->workload))
		return UFM_OK;
	return status_fail(UFM_EINVAL,
	                   "--ids: found ahead with --workload %.60s, expected device: only the ids of "
	                   "trace:FILE and sticky: are known ahead",
	                   c->workload);
}

ufm_status bench_config_check_files(const bench_config *c)
{
	bool reads = strncmp(c->workload, "trace:", 6) == 0 || strncmp(c->workload, "text:", 5) == 0;
	const named_file input = {"--workload", reads ? strchr(c->workload, ':') + 1 : NULL};
	const named_file spans = {"--timeline", c->timeline};
	const named_file recorded = {"--record-trace", c->record_trace};
	ufm_status status = check_other_file(&spans, &input);
	if (!status)
		status = check_other_file(&recorded, &input);
	return status ? status : check_other_file(&recorded, &spans);
}

ufm_status bench_config_check(const bench_config *c)
{
	ufm_status status = check_record(c);
	if (!status)
		status = check_ids(c);
	if (!status)
		status = check_tokens(c);
	if (!status)
		status = mode_check_cpu(c->cpu_assist, c->cpu_share);
	return status ? status : check_sizes(c);
}

ufm_status bench_config_resolve(bench_config *c, option_state *state)
{
	ufm_status status = bench_config_check(c);
	if (!status && only_decode(c) && by_hand(state, "seq") && c->seq != 1)
		status =
			status_fail(UFM_EINVAL,
		                "--seq: found %u with --phase decode, expected none: a step is one token "
		                "of each sequence",
		                c->seq);
	if (!status)
		derive(c, state);
	return status;
}
