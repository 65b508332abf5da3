/* SPDX-License-Identifier: MIT */
/* Reads the shape off the names and shapes of a checkpoint's tensors. */
#include "plan/shape_int.h"

#include "bank/bank.h"
#include "bank/experts.h"
#include "base/status.h"

static ufm_status dtype_of(const expert_set *found, plan_shape *s, ufm_dtype *out)
{
	switch ((int)found->dtype) {
	case CHECKPOINT_F32:
		*out = UFM_F32;
		return UFM_OK;
	case CHECKPOINT_F16:
		shape_note(s, "Its float16 experts count as bf16 (ufm info --f16-as bf16).");
		*out = UFM_BF16;
		return UFM_OK;
	case CHECKPOINT_BF16:
		*out = UFM_BF16;
		return UFM_OK;
	default:
		return status_fail(UFM_EFORMAT, "experts have dtype %s, expected F32, BF16 or F16",
		                   checkpoint_dtype_name(found->dtype));
	}
}

/* Experts that are missing at the end leave no hole: the file beside the weights knows. */
static ufm_status check_model(const expert_set *found, const model_config *m)
{
	if (m->experts && m->experts != found->experts)
		return status_fail(UFM_EFORMAT, "config.json says %u experts a layer, the weights hold %u",
		                   m->experts, found->experts);
	if (m->top_k && !*m->top_k_obstacle)
		return UFM_OK;
	return status_fail(
		UFM_EFORMAT, "top k is not known, expected num_experts_per_tok in a config.json beside the "
					 "weights, or the shape by its numbers");
}

static ufm_status from_found(const expert_set *found, const model_config *m, plan_shape *out)
{
	plan_shape s, noted = {.notes = ""};
	shape_given given = {.layers = found->layers,
	                     .experts = found->experts,
	                     .top_k = m->top_k,
	                     .d_model = found->d_model,
	                     .d_hidden = found->d_hidden,
	                     .kind = found->kind};
	ufm_status status = dtype_of(found, &noted, &given.dtype);
	if (!status)
		status = check_model(found, m);
	if (!status)
		status = shape_of_given(&given, &s);
	if (status)
		return status;
	shape_note(&s, "%s", noted.notes);
	if (*m->expert_obstacle)
		shape_note(&s, "Nothing here can run them yet: %.150s.", m->expert_obstacle);
	*out = s;
	return UFM_OK;
}

static ufm_status from_checkpoint(const checkpoint *c, plan_shape *out)
{
	model_config m;
	expert_set found;
	ufm_status status = model_config_read(checkpoint_config_path(c), &m);
	if (!status)
		status = experts_find(c, 0, 0, &found);
	if (status)
		return status;
	status = from_found(&found, &m, out);
	experts_free(&found);
	return status;
}

ufm_status shape_of_weights(const char *path, plan_shape *out)
{
	checkpoint *c;
	ufm_status status;
	if (!bank_is_checkpoint(path))
		return status_fail(
			UFM_EFORMAT,
			"%s: top k is not known of a packed bank, expected the shape by its numbers", path);
	status = checkpoint_open(path, &c);
	if (status)
		return status;
	status = from_checkpoint(c, out);
	checkpoint_close(c);
	return status ? status_prefix(UFM_EFORMAT, "%s", path) : UFM_OK;
}
