/* SPDX-License-Identifier: MIT */
/* Takes shape and rule from the headers of a checkpoint. */
#include "cli/bench/checkpoint.h"

#include "bank/bank.h"
#include "base/status.h"
#include "cli/bench/workload.h"
#include "cli/weights.h"

static const char *const taken[] = {"preset",   "experts", "layers", "d-model",
                                    "d-hidden", "kind",    "dtype"};

static ufm_status check_options(const option_state *state)
{
	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		if (option_is_by_hand(&bench_options, state, taken[i]))
			return status_fail(UFM_EINVAL,
			                   "--%s: found beside --model, which says it; expected one "
			                   "of them",
			                   taken[i]);
	}
	return UFM_OK;
}

static void take_shape(bench_config *c, option_state *state, const bank_shape *shape)
{
	c->shape = shape;
	c->experts.count = 1;
	c->experts.items[0] = shape->experts;
	c->layers = shape->layers;
	c->d_model = shape->desc.d_model;
	c->d_hidden = shape->desc.d_hidden;
	c->kind = weights_kind(&shape->desc) - UFM_EXPERT_MLP; /* the index of the choice */
	c->dtype = weights_of(&shape->desc);
	for (size_t i = 1; i < sizeof taken / sizeof taken[0]; i++)
		bench_config_origin(state, taken[i], "from the checkpoint");
}

/* What --norm-topk and --scoring say otherwise is a matter of the checkpoint alone. */
static ufm_status take_rule(bench_config *c, option_state *state, const ufm_bank *bank)
{
	const model_config *model = &bank_towers(bank)->model;
	static const char other[] = "expected --workload trace:FILE or sticky: for this model";
	if (*model->router_obstacle)
		return status_fail(UFM_EFORMAT, "%s: %s; %s", c->model, model->router_obstacle, other);
	if (!c->top_k && !model->top_k)
		return status_fail(UFM_EINVAL, "--top-k: found nothing, and config.json does not say how "
		                               "many experts a token has");
	if (model->norm_topk == MODEL_NOT_SAID || !model->scoring)
		return status_fail(UFM_EFORMAT,
		                   "%s: config.json does not say how logits become weights; %s", c->model,
		                   other);
	if (!c->top_k) {
		c->top_k = model->top_k;
		bench_config_origin(state, "top-k", "from the checkpoint");
	}
	c->norm_topk = model->norm_topk == MODEL_YES;
	c->scoring = model->scoring == UFM_SCORE_SIGMOID;
	bench_config_origin(state, "norm-topk", "from the checkpoint");
	bench_config_origin(state, "scoring", "from the checkpoint");
	return UFM_OK;
}

ufm_status bench_checkpoint(bench_config *c, option_state *state, ufm_bank **out)
{
	ufm_bank_checkpoint_config config;
	ufm_bank *bank;
	ufm_status status = check_options(state);
	if (status)
		return status;
	UFM_STRUCT_INIT(&config);
	config.prefix = c->prefix;
	config.geometry = c->geometry;
	status = ufm_bank_checkpoint(c->model, &config, &bank);
	/* The options are checked: all that can be wrong is which kind of layers is meant. */
	if (status)
		return status == UFM_EINVAL ? status_prefix(status, "--geometry") : status;
	take_shape(c, state, bank_get_shape(bank));
	if (!workload_spec_routes(c->workload))
		status = take_rule(c, state, bank);
	if (status) {
		ufm_bank_close(bank);
		return status;
	}
	*out = bank;
	return UFM_OK;
}
