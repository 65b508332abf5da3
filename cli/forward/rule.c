/* SPDX-License-Identifier: MIT */
/* Takes the router's rule from where it is said. */
#include "cli/forward/rule.h"

#include "bank/bank.h"
#include "bank/model_config.h"
#include "base/status.h"
#include "cli/forward/config.h"
#include "cli/router.h"

/* Where a model says its rule. */
static const char *origin(const checkpoint *c)
{
	return checkpoint_values(c) ? "the GGUF file" : "config.json";
}

/* The path of the config.json or of the file that needs none, or what to say when there is none. */
static const char *config_name(const checkpoint *c)
{
	const char *path = checkpoint_values(c) ? checkpoint_path(c) : checkpoint_config_path(c);
	return path ? path : "a config.json beside the weights, which is not there,";
}

static ufm_status not_said(const checkpoint *c, const char *options, const char *what)
{
	return status_fail(UFM_EINVAL, "%s: found nothing, and %s does not say %s", options,
	                   config_name(c), what);
}

static ufm_status take_top_k(const checkpoint *c, const model_config *model, uint32_t experts,
                             forward_config *config, option_state *state)
{
	if (config->top_k > experts)
		return status_fail(UFM_EINVAL, "--top-k: found %u, expected at most the layer's %u experts",
		                   config->top_k, experts);
	if (config->top_k)
		return UFM_OK;
	if (!model->top_k)
		return not_said(c, "--top-k", "how many experts a token has");
	if (model->top_k > experts)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %u experts a token, expected at most the layer's %u experts",
		                   config_name(c), model->top_k, experts);
	config->top_k = model->top_k;
	forward_origin(state, "top-k", origin(c));
	return UFM_OK;
}

static ufm_status take_norm_topk(const checkpoint *c, const model_config *model,
                                 forward_config *config, option_state *state)
{
	if (config->norm_topk)
		return UFM_OK;
	if (config->no_norm_topk) {
		forward_origin(state, "norm-topk", "--no-norm-topk");
		return UFM_OK;
	}
	if (model->norm_topk == MODEL_NOT_SAID)
		return not_said(c, "--norm-topk or --no-norm-topk",
		                "whether the chosen weights are divided by their sum");
	config->norm_topk = model->norm_topk == MODEL_YES;
	forward_origin(state, "norm-topk", origin(c));
	return UFM_OK;
}

static ufm_status take_scoring(const checkpoint *c, const model_config *model,
                               forward_config *config, option_state *state)
{
	if (config->scoring != FROM_CHECKPOINT)
		return UFM_OK;
	if (!model->scoring && *model->scoring_func)
		return status_fail(UFM_EFORMAT,
		                   "%s: scoring_func is \"%s\", expected softmax or sigmoid, or --scoring",
		                   config_name(c), model->scoring_func);
	if (!model->scoring)
		return not_said(c, "--scoring", "how router logits become weights");
	config->scoring = model->scoring == UFM_SCORE_SIGMOID ? SCORING_SIGMOID : SCORING_SOFTMAX;
	forward_origin(state, "scoring", origin(c));
	return UFM_OK;
}

static ufm_status take_rule(const ufm_bank *bank, uint32_t experts, forward_config *config,
                            option_state *state)
{
	const checkpoint *c = bank_checkpoint(bank);
	const model_config *model = &bank_towers(bank)->model;
	ufm_status status;
	if (*model->router_obstacle)
		return status_fail(UFM_EFORMAT, "%s: %s; expected --ids and --gates for this model",
		                   config_name(c), model->router_obstacle);
	status = take_top_k(c, model, experts, config, state);
	if (!status)
		status = take_norm_topk(c, model, config, state);
	return status ? status : take_scoring(c, model, config, state);
}

static ufm_status take_shape(const forward_input *input, uint32_t experts, forward_config *config,
                             option_state *state)
{
	if (input->top_k > experts)
		return status_fail(
			UFM_EFORMAT, "--ids: %s: found %u ids a token, expected at most the layer's %u experts",
			config->ids, input->top_k, experts);
	config->top_k = input->top_k;
	forward_origin(state, "top-k", "shape of --ids");
	return UFM_OK;
}

ufm_status forward_rule(const ufm_bank *bank, const forward_input *input, forward_config *config,
                        option_state *state)
{
	uint32_t experts = bank_get_shape(bank)->experts;
	ufm_status status;
	status = input->ids ? take_shape(input, experts, config, state)
	                    : take_rule(bank, experts, config, state);
	if (!status && (uint64_t)config->top_k * input->tokens > FORWARD_ROWS_MAX)
		return status_fail(
			UFM_EFORMAT,
			"--input: %s: found %u tokens of %u experts each, expected at most %u in "
			"all",
			config->input, input->tokens, config->top_k, FORWARD_ROWS_MAX);
	return status;
}

ufm_status forward_router(const ufm_bank *bank, uint32_t layer_number, float **out)
{
	ufm_status status = router_read(bank, 0, out);
	if (status || *out)
		return status;
	return status_fail(UFM_EINVAL,
	                   "--ids and --gates: found nothing, and layer %u has no router "
	                   "(….gate.weight, in GGUF files ….ffn_gate_inp.weight)",
	                   layer_number);
}
