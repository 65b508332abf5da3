/* SPDX-License-Identifier: MIT */
/* Finds the router beside a layer's experts in a GGUF file, and refuses one that has more than a weight. */
#include <stdio.h>
#include <string.h>

#include "bank/gguf_experts.h"
#include "base/status.h"

#define WEIGHT "ffn_gate_inp.weight"
#define BLOCK_BYTES 300u /* a tensor's name is shorter */

/* Of names behind "blk.N.". The gate of a shared expert is "ffn_gate_inp_shexp". */
static bool changes_scores(const char *in_block)
{
	return strncmp(in_block, "ffn_gate_inp.", 13) == 0 || strncmp(in_block, "exp_probs", 9) == 0 ||
	       strstr(in_block, "expert_bias") || strstr(in_block, "per_expert_scale");
}

static ufm_status find_beside(const checkpoint *c, const char *block, const checkpoint_tensor **out)
{
	size_t length = strlen(block);

	*out = NULL;
	for (uint32_t i = checkpoint_lower_bound(c, block); i < checkpoint_tensor_count(c); i++) {
		const checkpoint_tensor *t = checkpoint_tensor_at(c, i);

		if (strncmp(t->name, block, length) != 0)
			break;
		if (strcmp(t->name + length, WEIGHT) == 0)
			*out = t;
		else if (changes_scores(t->name + length))
			return status_fail(
				UFM_EFORMAT,
				"tensor \"%.200s\": a router with more than a weight is not understood", t->name);
	}
	return UFM_OK;
}

ufm_status gguf_experts_router(const gguf_set *set, const checkpoint *c, uint32_t layer,
                               const checkpoint_tensor **out)
{
	const gguf_layer *of = &set->layers[layer];
	const gguf_layer_kind *kind = &set->kinds[of->kind];
	const char *name = of->parts[0].tensors[0]->name;
	const uint64_t shape[2] = {kind->experts, kind->desc.d_model};
	char block[BLOCK_BYTES], is[96], expected[96];
	const checkpoint_tensor *found;
	expert_name part;
	ufm_status status;

	gguf_name_find(name, &part);
	snprintf(block, sizeof block, "%.*s.", (int)part.prefix_bytes, name);
	status = find_beside(c, block, &found);
	if (status)
		return status;
	if (found && (found->rank != 2 || memcmp(found->shape, shape, sizeof shape) != 0))
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", found->name,
		                   checkpoint_shape_text(found->rank, found->shape, is, sizeof is),
		                   checkpoint_shape_text(2, shape, expected, sizeof expected));
	*out = found;
	return UFM_OK;
}
