/* SPDX-License-Identifier: MIT */
/*
 * What the code of published families does whatever their files say. Facts are from Hugging Face
 * Transformers 5.17 (configuration_*.py: what holds where a key is left out; modeling_*.py: arithmetic
 * and router).
 */
#include <string.h>

#include "bank/model_config_int.h"

#define CORRECTED "its router adds a correction to the scores"
#define BIASES "Its experts' biases are left out."

static const config_family families[] = {
	/* a softmax over all experts */
	{.names = "mixtral minimax qwen3_vl_moe_text qwen3_5_moe_text hunyuan_v1_moe",
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = MODEL_YES},
	{.names =
         "qwen2_moe qwen3_moe olmoe flex_olmo qwen3_next qwen3_omni_moe_text mellum qwen4_exp_text",
     .scoring = UFM_SCORE_SOFTMAX},
	{.names = "jamba",
     .layout = CONFIG_PERIOD,
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = MODEL_NO},
	{.names = "deepseek_v2 deepseek_ocr2_text", .by_freq = true, .scoring = UFM_SCORE_SOFTMAX},
	{.names = "mistral4", .scoring = UFM_SCORE_SOFTMAX},
	/* of the chosen logits alone, which is the same as one over all, normalised */
	{.names = "granitemoe granitemoeshared granitemoehybrid granitemoe_swa aria_text",
     .scoring = UFM_SCORE_SOFTMAX,
     .norm_topk = MODEL_YES},
	/* sigmoid, and a tensor that corrects who is chosen */
	{.names = "deepseek_v3 deepseek_v32",
     .first_dense = 3,
     .by_freq = true,
     .scoring = UFM_SCORE_SIGMOID,
     .router = CORRECTED},
	{.names = "axk2 kimi_linear",
     .first_dense = 1,
     .by_freq = true,
     .scoring = UFM_SCORE_SIGMOID,
     .router = CORRECTED},
	{.names = "glm_moe_dsa", .first_dense = 3, .scoring = UFM_SCORE_SIGMOID, .router = CORRECTED},
	{.names =
         "afmoe axk1 exaone_moe glm4_moe glm4_moe_lite glm4v_moe_text hy_v3 laguna mimo_v2_flash",
     .first_dense = 1,
     .scoring = UFM_SCORE_SIGMOID,
     .router = CORRECTED},
	{.names = "dots1 minimax_m2 solar_open inkling_text",
     .scoring = UFM_SCORE_SIGMOID,
     .router = CORRECTED},
	{.names = "lfm2_moe", .first_dense = 2, .scoring = UFM_SCORE_SIGMOID},
	{.names = "ernie4_5_moe", .first_dense = 1, .scoring = UFM_SCORE_SOFTMAX, .router = CORRECTED},
	/* its num_hidden_layers counts the two halves of each layer */
	{.names = "longcat_flash",
     .layers = "num_layers",
     .left_out = "A token's experts may be ones without weights; all are counted.",
     .scoring = UFM_SCORE_SOFTMAX,
     .router = CORRECTED},
	/* arithmetic of their own */
	{.names = "hy_v4",
     .first_dense = 1,
     .scoring = UFM_SCORE_SIGMOID,
     .arithmetic = "its gate is clamped",
     .router = CORRECTED},
	{.names = "glm5_next_text step3p5 step3p7",
     .first_dense = 3,
     .scoring = UFM_SCORE_SIGMOID,
     .arithmetic = "its gate is clamped",
     .router = CORRECTED},
	{.names = "minimax_m3_vl_text",
     .scoring = UFM_SCORE_SIGMOID,
     .arithmetic = "its gate is clamped",
     .router = CORRECTED},
	{.names = "deepseek_v4",
     .arithmetic = "its gate is clamped",
     .router = "its router goes by a hash or the root of softplus"},
	{.names = "nemotron_h",
     .layout = CONFIG_PATTERN,
     .kind = UFM_EXPERT_MLP,
     .scoring = UFM_SCORE_SIGMOID,
     .router = CORRECTED},
	{.names = "gpt_oss",
     .left_out = BIASES,
     .act_alpha = 1.702f,
     .act_limit = 7.0f,
     .up_offset = 1.0f,
     .router = "its router adds a bias to the logits"},
	{.names = "openai_privacy_filter",
     .left_out = BIASES,
     .arithmetic = "its activation is not understood",
     .router = "its router adds a bias to the logits"},
	{.names = "gemma4_text", .router = "its router scales tokens and experts"},
	/* a router of its own */
	{.names = "phimoe", .router = "it routes by sparsemixer"},
	{.names = "llama4_text",
     .d_hidden = "intermediate_size",
     .router = "its router weighs what goes into an expert"},
	{.names = "dbrx", .router = "its router divides by a norm of its own"},
	{.names = "cohere2_moe", .router = "its router scores the chosen logits alone"},
	{.names = "zaya", .router = "its router is a network of its own, which may choose no expert"},
	/* experts that cannot be described here */
	{.names = "doge", .shape = "its experts are rows of an embedding"},
	{.names = "jetmoe", .shape = "its attention has experts, too"},
	{.names = "ernie4_5_vl_moe_text", .shape = "its layers have experts of two widths"},
	{.names = "diffusion_gemma_text", .shape = "both its encoder and its decoder use its experts"},
	{.names = "switch_transformers nllb-moe nllb_moe",
     .shape = "its encoder and its decoder have experts, each of their own"},
};

static bool is_named(const char *names, const char *model_type)
{
	char name[CONFIG_KEY_BYTES];

	while (config_next_key(&names, name)) {
		size_t length = strlen(name);

		if (strcmp(name, model_type) == 0)
			return true;
		/* A text part that does not say its own type has that of the whole. */
		if (length > 5 && strcmp(name + length - 5, "_text") == 0 &&
		    strlen(model_type) == length - 5 && strncmp(name, model_type, length - 5) == 0)
			return true;
	}
	return false;
}

const config_family *config_family_of(const char *model_type)
{
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		if (is_named(families[i].names, model_type))
			return &families[i];
	}
	return NULL;
}
