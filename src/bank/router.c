/* SPDX-License-Identifier: MIT */
/* Finds the router beside a layer's experts, and refuses one that has more than a weight. */
#include <stdio.h>
#include <string.h>

#include "bank/experts_int.h"
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

static const router_names names = {"gate.weight", changes_scores};

/* Among all that begins with the block: the weight, and nothing that changes what it says. */
static ufm_status find_beside(const checkpoint *c, const router_names *n, const char *block,
                              const checkpoint_tensor **out)
{
	size_t length = strlen(block);

	*out = NULL;
	for (uint32_t i = checkpoint_lower_bound(c, block); i < checkpoint_tensor_count(c); i++) {
		const checkpoint_tensor *t = checkpoint_tensor_at(c, i);

		if (strncmp(t->name, block, length) != 0)
			break;
		if (strcmp(t->name + length, n->weight) == 0)
			*out = t;
		else if (n->changes_scores(t->name + length))
			return status_fail(
				UFM_EFORMAT,
				"tensor \"%.200s\": a router with more than a weight is not understood", t->name);
	}
	return UFM_OK;
}

ufm_status experts_find_router(const checkpoint *c, const router_names *n, const char *name,
                               uint32_t prefix_bytes, const uint64_t shape[2],
                               const checkpoint_tensor **out)
{
	char *block = block_prefix(name, prefix_bytes);
	const checkpoint_tensor *found;
	ufm_status status;

	if (!block)
		return UFM_ENOMEM;
	status = find_beside(c, n, block, &found);
	alloc_free(block);
	if (status)
		return status;
	if (found && (found->rank != 2 || memcmp(found->shape, shape, 2 * sizeof *shape) != 0))
		return experts_fail_shape(found, 2, shape);
	*out = found;
	return UFM_OK;
}

ufm_status experts_router(const expert_set *e, const checkpoint *c, uint32_t layer,
                          const checkpoint_tensor **out)
{
	const char *name = e->tensors[(size_t)layer * e->layer_tensors]->name;
	const uint64_t shape[2] = {e->experts, e->d_model};
	expert_name part;

	expert_name_find(name, &part);
	return experts_find_router(c, &names, name, part.prefix_bytes, shape, out);
}
