/* SPDX-License-Identifier: MIT */
/* Finds the router beside a layer's experts, and refuses one that has more than a weight. */
#include <stdio.h>
#include <string.h>

#include "bank/experts.h"
#include "base/alloc.h"
#include "base/status.h"
#include "base/text.h"

/* "model.layers.3.mlp."; "" for names without a prefix; NULL without memory. */
static char *block_prefix(const char *name, uint32_t prefix_bytes)
{
	size_t size = prefix_bytes + sizeof ".";
	char *text = alloc_zeroed(size, 1);

	if (text && prefix_bytes)
		snprintf(text, size, "%.*s.", (int)prefix_bytes, name);
	return text;
}

/* Models keep what corrects the scores with the gate, beside it, or in a module of its own. */
static bool changes_scores(const char *in_block)
{
	return strncmp(in_block, "gate.", 5) == 0 ||
	       text_ends_with(in_block, "e_score_correction_bias") ||
	       text_ends_with(in_block, "expert_bias") || text_ends_with(in_block, "routing_bias") ||
	       text_ends_with(in_block, "per_expert_scale");
}

/* Among all that begins with the prefix: the weight, and nothing that changes what it says. */
static ufm_status find_gate(const checkpoint *c, const char *block, const checkpoint_tensor **out)
{
	size_t length = strlen(block);
	const checkpoint_tensor *found = NULL;

	for (uint32_t i = checkpoint_lower_bound(c, block); i < checkpoint_tensor_count(c); i++) {
		const checkpoint_tensor *t = checkpoint_tensor_at(c, i);

		if (strncmp(t->name, block, length) != 0)
			break;
		if (strcmp(t->name + length, "gate.weight") == 0)
			found = t;
		else if (changes_scores(t->name + length))
			return status_fail(
				UFM_EFORMAT,
				"tensor \"%.200s\": a router with more than a weight is not understood", t->name);
	}
	*out = found;
	return UFM_OK;
}

static ufm_status find_beside(const checkpoint *c, const char *name, uint32_t prefix_bytes,
                              const checkpoint_tensor **out)
{
	char *block = block_prefix(name, prefix_bytes);
	ufm_status status;

	if (!block)
		return UFM_ENOMEM;
	status = find_gate(c, block, out);
	alloc_free(block);
	return status;
}

ufm_status experts_router(const expert_set *e, const checkpoint *c, uint32_t layer,
                          const checkpoint_tensor **out)
{
	const checkpoint_tensor *t = e->tensors[(size_t)layer * e->layer_tensors], *found;
	uint64_t shape[2] = {e->experts, e->d_model};
	char is[96], expected[96];
	expert_name name;
	ufm_status status;

	expert_name_find(t->name, &name);
	status = find_beside(c, t->name, name.prefix_bytes, &found);
	if (status)
		return status;
	if (found && (found->rank != 2 || memcmp(found->shape, shape, sizeof shape) != 0))
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", found->name,
		                   checkpoint_shape_text(found->rank, found->shape, is, sizeof is),
		                   checkpoint_shape_text(2, shape, expected, sizeof expected));
	*out = found;
	return UFM_OK;
}
