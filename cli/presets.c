/* SPDX-License-Identifier: MIT */
/* The table of published shapes. */
#include "cli/presets.h"

/* In the order of PRESET_CHOICES. */
static const preset presets[] = {
	/* mistralai/Mixtral-8x7B-v0.1, config.json: num_hidden_layers 32, num_local_experts 8,
     * num_experts_per_tok 2, hidden_size 4096, intermediate_size 14336. Its softmax is over the chosen,
     * which is a softmax over all divided by the sum of the chosen. */
	{.name = "mixtral-8x7b",
     .source = "mistralai/Mixtral-8x7B-v0.1",
     .layers = 32,
     .experts = 8,
     .top_k = 2,
     .d_model = 4096,
     .d_hidden = 14336,
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = true},
	/* Qwen/Qwen3-30B-A3B, config.json: num_hidden_layers 48, decoder_sparse_step 1, num_experts 128,
     * num_experts_per_tok 8, hidden_size 2048, moe_intermediate_size 768, norm_topk_prob true. */
	{.name = "qwen3-30b-a3b",
     .source = "Qwen/Qwen3-30B-A3B",
     .layers = 48,
     .experts = 128,
     .top_k = 8,
     .d_model = 2048,
     .d_hidden = 768,
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = true},
	/* openai/gpt-oss-20b, config.json: num_hidden_layers 24, num_local_experts 32,
     * num_experts_per_tok 4, hidden_size 2880, intermediate_size 2880. Softmax over the chosen, as
     * mixtral. */
	{.name = "gpt-oss-20b",
     .source = "openai/gpt-oss-20b",
     .left_out =
         "biases of router and experts (0.03 % of an expert); the clamp of its activation; it "
         "is published in 4 bits, here it is bf16",
     .layers = 24,
     .experts = 32,
     .top_k = 4,
     .d_model = 2880,
     .d_hidden = 2880,
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = true},
	/* deepseek-ai/DeepSeek-V2-Lite, config.json: num_hidden_layers 27, first_k_dense_replace 1,
     * n_routed_experts 64, n_shared_experts 2, num_experts_per_tok 6, hidden_size 2048,
     * moe_intermediate_size 1408, scoring_func softmax, norm_topk_prob false. */
	{.name = "deepseek-v2-lite",
     .source = "deepseek-ai/DeepSeek-V2-Lite",
     .left_out = "2 shared experts a layer",
     .first_layer = 1,
     .layers = 26,
     .experts = 64,
     .top_k = 6,
     .d_model = 2048,
     .d_hidden = 1408,
     .scoring = UFM_SCORE_SOFTMAX},
	/* deepseek-ai/DeepSeek-V3, config.json: num_hidden_layers 61, first_k_dense_replace 3,
     * n_routed_experts 256, n_shared_experts 1, num_experts_per_tok 8, hidden_size 7168,
     * moe_intermediate_size 2048, scoring_func sigmoid, norm_topk_prob true, n_group 8, topk_group 4,
     * routed_scaling_factor 2.5. */
	{.name = "deepseek-v3",
     .source = "deepseek-ai/DeepSeek-V3",
     .left_out =
         "the shared expert of a layer; groups of experts, biases and scaling of the router; "
         "it is published in 8 bits, here it is bf16",
     .first_layer = 3,
     .layers = 58,
     .experts = 256,
     .top_k = 8,
     .d_model = 7168,
     .d_hidden = 2048,
     .scoring = UFM_SCORE_SIGMOID,
     .norm_topk = true},
	/* allenai/OLMoE-1B-7B-0924, config.json: num_hidden_layers 16, num_experts 64,
     * num_experts_per_tok 8, hidden_size 2048, intermediate_size 1024, norm_topk_prob false. */
	{.name = "olmoe-1b-7b",
     .source = "allenai/OLMoE-1B-7B-0924",
     .layers = 16,
     .experts = 64,
     .top_k = 8,
     .d_model = 2048,
     .d_hidden = 1024,
     .scoring = UFM_SCORE_SOFTMAX},
	/* zai-org/GLM-4.5-Air, config.json: num_hidden_layers 46, first_k_dense_replace 1,
     * n_routed_experts 128, n_shared_experts 1, num_experts_per_tok 8, hidden_size 4096,
     * moe_intermediate_size 1408, norm_topk_prob true, n_group 1; its scores are sigmoids. */
	{.name = "glm-4.5-air",
     .source = "zai-org/GLM-4.5-Air",
     .left_out = "the shared expert of a layer; biases of the router",
     .first_layer = 1,
     .layers = 45,
     .experts = 128,
     .top_k = 8,
     .d_model = 4096,
     .d_hidden = 1408,
     .scoring = UFM_SCORE_SIGMOID,
     .norm_topk = true},
};

const preset *preset_at(uint32_t choice)
{
	return choice > 0 && choice <= sizeof presets / sizeof presets[0] ? &presets[choice - 1] : NULL;
}

ufm_status preset_bank(const preset *p, bank_shape *out)
{
	bank_shape info = {
		.layers = p->layers, .experts = p->experts, .desc = {.struct_size = sizeof info.desc}};
	ufm_status status =
		ufm_expert_desc_init(&info.desc, UFM_EXPERT_GATED, p->d_model, p->d_hidden, UFM_BF16);
	if (status)
		return status;
	info.bank_bytes = (uint64_t)info.layers * info.experts * info.desc.expert_bytes;
	*out = info;
	return UFM_OK;
}
