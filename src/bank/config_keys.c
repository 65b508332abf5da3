/* SPDX-License-Identifier: MIT */
/* What the keys of config.json files mean: the one table of names that are understood. */
#include <string.h>

#include "bank/model_config_int.h"

/* Of several keys that say the same the more special one stands first. `top_k` is not among those for
 * experts a token: in these files it is a setting of text generation. */
static const char *const table[CONFIG_MEANINGS] = {
	[CONFIG_LAYERS] = "num_hidden_layers n_layer n_layers num_layers",
	[CONFIG_LAYOUT] =
		"mlp_layer_types is_moe_layer moe_layer_freq moe_layers moe_layers_enum "
		"hybrid_override_pattern moe_layer_num_skipped first_k_dense_replace num_dense_layers "
		"dense_mlp_idx "
		"decoder_sparse_step mlp_only_layers moe_layer_start_index moe_layer_end_index "
		"moe_layer_interval interleave_moe_layer_step expert_layer_period expert_layer_offset",
	[CONFIG_ENTRIES] = "layers_block_type layer_types",
	[CONFIG_SWITCH] = "is_moe use_moe enable_moe_block",
	[CONFIG_EXPERTS] = "num_experts num_local_experts n_routed_experts moe_num_experts",
	[CONFIG_TOP_K] = "num_experts_per_tok num_experts_per_token moe_top_k moe_topk moe_k "
					 "top_k_experts num_selected_experts experts_per_token",
	[CONFIG_D_MODEL] = "hidden_size n_embd d_model",
	[CONFIG_D_LATENT] = "moe_latent_size routed_expert_hidden_size",
	[CONFIG_D_HIDDEN] = "moe_intermediate_size expert_ffn_hidden_size intermediate_size "
						"ffn_hidden_size ffn_dim",
	[CONFIG_ACTIVATION] =
		"hidden_act hidden_activation mlp_hidden_act activation_function ffn_act_fn",
	[CONFIG_ALPHA] = "swiglu_alpha",
	[CONFIG_LIMIT] = "swiglu_limit",
	[CONFIG_ARITHMETIC] = "swiglu_limits",
	[CONFIG_DTYPE] = "dtype torch_dtype",
	[CONFIG_QUANTISED] = "quantization_config compression_config quantization",
	[CONFIG_NORM] = "norm_topk_prob moe_renormalize norm_expert_weight",
	[CONFIG_SCORING] = "scoring_func score_func score_function moe_router_activation_func "
					   "moe_router_activation expert_selection_fn",
	[CONFIG_METHOD] = "topk_method",
	[CONFIG_ONE] =
		"n_group topk_group num_expert_group routed_scaling_factor router_scaling_factor "
		"moe_routed_scaling_factor moe_router_scaling_factor "
		"moe_router_topk_scaling_factor route_scale",
	[CONFIG_OFF] = "use_expert_bias moe_router_enable_expert_bias use_routing_bias router_bias "
				   "use_moe_router_bias moe_use_aux_free zero_expert_num "
				   "moe_apply_router_weight_on_input moe_router_logit_softcapping moe_norm_min "
				   "moe_normalize_expert_weights router_hidden_size rms_norm_eps_moe_gate",
	/* How it is run and trained, and lists of kinds of attention. */
	[CONFIG_HARMLESS] =
		"output_router_logits router_dtype moe_router_dtype experts_implementation "
		"_experts_implementation use_grouped_topk use_mixed_mlp_moe enable_moe_fp32_combine "
		"share_expert_dim share_expert_dims dense_intermediate_size "
		"prefix_dense_intermediate_size activation_sparsity_pattern hybrid_layer_pattern "
		"num_hash_layers moe_random_routing_dropped_token moe_drop_tokens",
};

const char *config_keys(config_meaning meaning)
{
	return table[meaning];
}

bool config_next_key(const char **keys, char out[CONFIG_KEY_BYTES])
{
	size_t length = strcspn(*keys, " ");

	if (length == 0 || length >= CONFIG_KEY_BYTES)
		return false;
	memcpy(out, *keys, length);
	out[length] = '\0';
	*keys += length + ((*keys)[length] == ' ');
	return true;
}

static bool is_listed(const char *keys, const char *key)
{
	char listed[CONFIG_KEY_BYTES];

	while (config_next_key(&keys, listed)) {
		if (strcmp(listed, key) == 0)
			return true;
	}
	return false;
}

static bool has_one(const char *key, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strstr(key, words[i]))
			return true;
	}
	return false;
}

/* Words of names that are about routed layers, and of those that only sound so: attention, positions,
 * losses and noise of training, shared experts, other towers. */
bool config_is_unknown(const char *key)
{
	static const char *const about[] = {
		"moe",        "expert",   "router",     "routed",         "routing", "layer_types",
		"block_type", "sparse",   "interleave", "pattern",        "dense",   "layer_freq",
		"topk",       "mlp_only", "hash_layer", "mlp_layer_types"};
	static const char *const apart[] = {"attn",   "attention", "rope",   "sliding",   "index_",
	                                    "_loss",  "loss_",     "jitter", "shared",    "mtp_",
	                                    "vision", "audio",     "image",  "embedding", "dropout"};

	if (!has_one(key, about, sizeof about / sizeof about[0]) ||
	    has_one(key, apart, sizeof apart / sizeof apart[0]))
		return false;
	for (config_meaning meaning = 0; meaning < CONFIG_MEANINGS; meaning++) {
		if (is_listed(table[meaning], key))
			return false;
	}
	return true;
}
