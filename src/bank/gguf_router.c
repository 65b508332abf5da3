/* SPDX-License-Identifier: MIT */
/* Finds the router beside a layer's experts in a GGUF file. */
#include <string.h>

#include "bank/experts_int.h"
#include "bank/gguf_experts.h"

/* The gate of a shared expert is "ffn_gate_inp_shexp". */
static bool changes_scores(const char *in_block)
{
	return strncmp(in_block, "ffn_gate_inp.", 13) == 0 || strncmp(in_block, "exp_probs", 9) == 0 ||
	       strstr(in_block, "expert_bias") || strstr(in_block, "per_expert_scale");
}

static const router_names names = {"ffn_gate_inp.weight", changes_scores};

ufm_status gguf_experts_router(const gguf_set *set, const checkpoint *c, uint32_t layer,
                               const checkpoint_tensor **out)
{
	const gguf_layer *of = &set->layers[layer];
	const gguf_layer_kind *kind = &set->kinds[of->kind];
	const char *name = of->parts[0].tensors[0]->name;
	const uint64_t shape[2] = {kind->experts, kind->desc.d_model};
	expert_name part;

	gguf_name_find(name, &part);
	return experts_find_router(c, &names, name, part.prefix_bytes, shape, out);
}
