/* SPDX-License-Identifier: MIT */
/* What no option of `ufm forward` can check alone. */
#include "cli/forward/config.h"

#include <assert.h>
#include <string.h>

#include "base/status.h"
#include "cli/modes/options.h"
#include "cli/same_file.h"

static uint32_t index_of(const char *option)
{
	uint32_t index = options_find(&forward_options, option);
	assert(index < OPTIONS_MAX);
	return index;
}

bool forward_was_given(const option_state *state, const char *option)
{
	return option_is_by_hand(&forward_options, state, option);
}

void forward_origin(option_state *state, const char *option, const char *origin)
{
	state->origins[index_of(option)] = origin;
}

/* Routing comes whole from the caller or from the router. */
static ufm_status check_routing(const forward_config *c, const option_state *state)
{
	static const char *const rule[] = {"top-k", "norm-topk", "no-norm-topk", "scoring"};
	if (!c->ids != !c->gates)
		return status_fail(UFM_EINVAL, "--%s: found without --%s, expected both or neither",
		                   c->ids ? "ids" : "gates", c->ids ? "gates" : "ids");
	for (size_t i = 0; c->ids && i < sizeof rule / sizeof rule[0]; i++)
		if (forward_was_given(state, rule[i]))
			return status_fail(UFM_EINVAL,
			                   "--%s: found with --ids, expected the router's rule or your routing",
			                   rule[i]);
	if (c->norm_topk && c->no_norm_topk)
		return status_fail(UFM_EINVAL,
		                   "--norm-topk: found with --no-norm-topk, expected one of them");
	return UFM_OK;
}

/* Inputs are mapped while outputs are written. */
static ufm_status check_files(const forward_config *c)
{
	const named_file outputs[] = {
		{"--output", c->output}, {"--timeline", c->timeline}, {"--record-trace", c->record_trace}};
	const named_file inputs[] = {{"--input", c->input}, {"--ids", c->ids}, {"--gates", c->gates}};
	const named_file weights = {"--weights", c->weights};
	ufm_status status = UFM_OK;
	for (size_t i = 0; i < sizeof outputs / sizeof outputs[0] && !status; i++) {
		status = check_other_weights(&outputs[i], &weights);
		for (size_t j = 0; j < sizeof inputs / sizeof inputs[0] && !status; j++)
			status = check_other_file(&outputs[i], &inputs[j]);
		for (size_t j = 0; j < i && !status; j++)
			status = check_other_file(&outputs[i], &outputs[j]);
	}
	return status;
}

ufm_status forward_config_check(const forward_config *c, const option_state *state)
{
	ufm_status status = check_routing(c, state);
	if (!status)
		status = check_files(c);
	if (!status)
		status = mode_check_cpu(c->cpu_assist, c->cpu_share);
	if (status)
		return status;
	return mode_check_sizes(c->vram_target_bytes, c->headroom_bytes,
	                        c->mode == MODE_UFM ? c->vram_limit_bytes : 0);
}
