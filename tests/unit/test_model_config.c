/* SPDX-License-Identifier: MIT */
/* config.json: what is understood, what is left unsaid, and what is an obstacle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/model_config.h"
#include "support/assert_error.h"
#include "support/checkpoint_file.h"

static ufm_status parse(const char *text, model_config *out)
{
	size_t size = strlen(text);
	char *copy = malloc(size ? size : 1);
	ufm_status status;

	assert_non_null(copy);
	memcpy(copy, text, size);
	status = model_config_parse(copy, size, NULL, out);
	free(copy);
	return status;
}

#define EXPERTS "\"num_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":64,"
#define WHOLE \
	"\"num_hidden_layers\":4,\"num_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":64," \
	"\"moe_intermediate_size\":32"

/* ---- experts and routers of a model whose weights say the shape */

static const struct {
	const char *text;
	model_config expected;
} cases[] = {
	{"{}", {.top_k = 0}},
	{"{\"hidden_act\":\"silu\"}", {.hidden_act = "silu", .activation = UFM_ACT_SILU}},
	{"{\"hidden_act\":\"swish\"}", {.hidden_act = "swish", .activation = UFM_ACT_SILU}},
	{"{\"hidden_act\":\"gelu\"}", {.hidden_act = "gelu", .activation = UFM_ACT_GELU}},
	{"{\"hidden_activation\":\"gelu\"}", {.hidden_act = "gelu", .activation = UFM_ACT_GELU}},
	{"{\"ffn_config\":{\"ffn_act_fn\":{\"name\":\"silu\"}}}",
     {.hidden_act = "silu", .activation = UFM_ACT_SILU}},
	/* the tanh form of GELU is another function */
	{"{\"hidden_act\":\"gelu_new\"}",
     {.hidden_act = "gelu_new",
      .expert_obstacle = "hidden_act is \"gelu_new\", expected silu or gelu"}},
	{"{\"hidden_activation\":\"gelu_pytorch_tanh\"}",
     {.hidden_act = "gelu_pytorch_tanh",
      .expert_obstacle = "hidden_activation is \"gelu_pytorch_tanh\", expected silu or gelu"}},
	{"{\"mlp_hidden_act\":\"relu2\"}",
     {.hidden_act = "relu2",
      .expert_obstacle = "mlp_hidden_act is \"relu2\", expected silu or gelu"}},
	{"{\"hidden_act\":\"silu\",\"hidden_activation\":\"gelu\"}",
     {.hidden_act = "silu",
      .activation = UFM_ACT_SILU,
      .expert_obstacle = "hidden_act is \"silu\" and hidden_activation is \"gelu\""}},
	{"{\"hidden_act\":1}", {.expert_obstacle = "hidden_act is 1, expected silu or gelu"}},
	{"{\"hidden_act\":null,\"norm_topk_prob\":null,\"num_experts_per_tok\":null,\"n_group\":null,"
     "\"routed_scaling_factor\":null,\"swiglu_limit\":null,\"scoring_func\":null,\"moe_new\":null}",
     {.top_k = 0}},
	{"{\"num_experts_per_tok\":8}", {.top_k = 8}},
	{"{\"num_experts_per_token\":3}", {.top_k = 3}},
	{"{\"top_k_experts\":4}", {.top_k = 4}},
	{"{\"moe_top_k\":2,\"moe_topk\":2}", {.top_k = 2}},
	/* a setting of text generation */
	{"{\"top_k\":50}", {.top_k = 0}},
	{"{\"moe_top_k\":2,\"moe_topk\":3}",
     {.top_k = 2, .router_obstacle = "moe_top_k is 2, and moe_topk is 3"}},
	{"{\"moe_topk\":[2,2,2]}", {.top_k = 2}},
	{"{\"moe_topk\":[1,2]}",
     {.router_obstacle = "moe_topk is 1 for layer 0 and 2 for layer 1, expected one for all"}},
	{"{\"moe_topk\":[]}",
     {.router_obstacle = "moe_topk is a list of 0, expected a number or one for each of 0 layers"}},
	{"{\"num_experts_per_tok\":0}",
     {.router_obstacle = "num_experts_per_tok is 0, expected a whole number from 1 to 65536"}},
	{"{\"num_experts_per_tok\":-1}",
     {.router_obstacle = "num_experts_per_tok is -1, expected a whole number from 1 to 65536"}},
	{"{\"num_experts_per_tok\":2.5}",
     {.router_obstacle = "num_experts_per_tok is 2.5, expected a whole number from 1 to 65536"}},
	{"{\"num_experts_per_tok\":Infinity}",
     {.router_obstacle =
          "num_experts_per_tok is Infinity, expected a whole number from 1 to 65536"}},
	{"{\"num_experts_per_tok\":\"two\"}",
     {.router_obstacle =
          "num_experts_per_tok is \"two\", expected a whole number from 1 to 65536"}},
	{"{\"norm_topk_prob\":true}", {.norm_topk = MODEL_YES}},
	{"{\"norm_topk_prob\":false}", {.norm_topk = MODEL_NO}},
	{"{\"norm_topk_prob\":\"yes\"}",
     {.router_obstacle = "norm_topk_prob is \"yes\", expected true or false"}},
	{"{\"scoring_func\":\"softmax\"}", {.scoring_func = "softmax", .scoring = UFM_SCORE_SOFTMAX}},
	{"{\"scoring_func\":\"sigmoid\"}", {.scoring_func = "sigmoid", .scoring = UFM_SCORE_SIGMOID}},
	{"{\"scoring_func\":\"relu\"}", {.scoring_func = "relu"}},
	{"{\"scoring_func\":1}", {.router_obstacle = "scoring_func is 1, expected softmax or sigmoid"}},
	{"{\"num_experts\":64,\"num_local_experts\":64}", {.experts = 64}},
	{"{\"n_routed_experts\":256}", {.experts = 256}},
	{"{\"n_group\":1,\"topk_group\":1,\"routed_scaling_factor\":1.0,\"topk_method\":\"greedy\"}",
     {.top_k = 0}},
	{"{\"n_group\":8}", {.router_obstacle = "n_group is 8, expected 1"}},
	{"{\"n_group\":\"8\"}", {.router_obstacle = "n_group is \"8\", expected 1"}},
	{"{\"topk_group\":4}", {.router_obstacle = "topk_group is 4, expected 1"}},
	{"{\"routed_scaling_factor\":2.5}",
     {.router_obstacle = "routed_scaling_factor is 2.5, expected 1"}},
	{"{\"routed_scaling_factor\":NaN}",
     {.router_obstacle = "routed_scaling_factor is NaN, expected 1"}},
	{"{\"topk_method\":\"noaux_tc\"}",
     {.router_obstacle = "topk_method is \"noaux_tc\", expected greedy"}},
	{"{\"use_expert_bias\":true}",
     {.router_obstacle = "use_expert_bias is true, which is not understood"}},
	{"{\"use_expert_bias\":false}", {.top_k = 0}},
	{"{\"moe_router_logit_softcapping\":0.0}", {.top_k = 0}},
	{"{\"swiglu_limit\":7.0}", {.expert_obstacle = "swiglu_limit is set, which is not understood"}},
	{"{\"moe_jump\":3}",
     {.router_obstacle = "moe_jump is 3: it sounds like layers, experts or routing and is not "
                         "understood, expected no such key"}},
	/* what sounds like it and is none of it */
	{"{\"router_aux_loss_coef\":0.1,\"rope_interleave\":true,\"num_shared_experts\":2,"
     "\"sliding_window_pattern\":4,\"router_jitter_noise\":0.1,\"mtp_layer_types\":[],"
     "\"output_router_logits\":false,\"index_topk\":9,\"sparse_attention_config\":{}}",
     {.top_k = 0}},
	/* always normalised, whatever the file says */
	{"{\"model_type\":\"mixtral\",\"num_experts_per_tok\":2,\"norm_topk_prob\":false}",
     {.model_type = "mixtral", .top_k = 2, .scoring = UFM_SCORE_SOFTMAX, .norm_topk = MODEL_YES}},
	{"{\"norm_topk_prob\":true,\"model_type\":\"qwen3_moe\"}",
     {.model_type = "qwen3_moe", .scoring = UFM_SCORE_SOFTMAX, .norm_topk = MODEL_YES}},
	{"{\"model_type\":\"qwen2_moe\"}", {.model_type = "qwen2_moe", .scoring = UFM_SCORE_SOFTMAX}},
	{"{\"model_type\":\"unheard_of\"}", {.model_type = "unheard_of"}},
	{"{\"model_type\":\"gpt_oss\"}",
     {.model_type = "gpt_oss",
      .act_alpha = 1.702f,
      .act_limit = 7.0f,
      .up_offset = 1.0f,
      .router_obstacle = "model_type gpt_oss: its router adds a bias to the logits"}},
	{"{\"model_type\":\"gpt_oss\",\"swiglu_limit\":5,\"swiglu_alpha\":1.5}",
     {.model_type = "gpt_oss",
      .act_alpha = 1.5f,
      .act_limit = 5.0f,
      .up_offset = 1.0f,
      .router_obstacle = "model_type gpt_oss: its router adds a bias to the logits"}},
	{"{\"model_type\":\"gpt_oss\",\"swiglu_limit\":-1}",
     {.model_type = "gpt_oss",
      .act_alpha = 1.702f,
      .act_limit = 7.0f,
      .up_offset = 1.0f,
      .expert_obstacle = "swiglu_limit is -1, expected a number above 0",
      .router_obstacle = "model_type gpt_oss: its router adds a bias to the logits"}},
	{"{\"model_type\":\"mixtral\",\"swiglu_limit\":7}",
     {.model_type = "mixtral",
      .scoring = UFM_SCORE_SOFTMAX,
      .norm_topk = MODEL_YES,
      .expert_obstacle = "swiglu_limit is set, which is not understood"}},
	{"{\"model_type\":\"phimoe\",\"hidden_act\":\"silu\"}",
     {.model_type = "phimoe",
      .hidden_act = "silu",
      .activation = UFM_ACT_SILU,
      .router_obstacle = "model_type phimoe: it routes by sparsemixer"}},
	/* parts */
	{"{\"model_type\":\"a\",\"hidden_act\":\"relu\",\"n_group\":3,\"text_config\":{\"model_type\":"
     "\"b\","
     "\"hidden_act\":\"silu\",\"num_experts\":4}}",
     {.model_type = "b",
      .hidden_act = "silu",
      .activation = UFM_ACT_SILU,
      .experts = 4,
      .router_obstacle = "n_group is 3, expected 1"}},
	{"{\"model_type\":\"vl\",\"text_config\":{\"num_experts\":8,\"use_expert_bias\":true}}",
     {.model_type = "vl",
      .experts = 8,
      .router_obstacle = "use_expert_bias is true, which is not understood"}},
	{"{\"thinker_config\":{\"text_config\":{\"num_experts\":5,\"model_type\":\"phimoe\"}}}",
     {.model_type = "phimoe",
      .experts = 5,
      .router_obstacle = "model_type phimoe: it routes by sparsemixer"}},
	{"{\"model_type\":\"phimoe\",\"text_config\":{\"num_experts\":5,\"model_type\":\"x\"}}",
     {.model_type = "x",
      .experts = 5,
      .router_obstacle = "model_type phimoe: it routes by sparsemixer"}},
	{"{\"x\":[{\"n_group\":3}],\"vision_config\":{\"moe_jump\":3}}", {.top_k = 0}},
	/* what nobody needs does not matter */
	{"{\"a\":[0.0,Infinity,-Infinity,NaN],\"b\":"
     "1000000000000000000000000000000000000000000000000000000"
     "0000000000000000000000000000000000,\"n_group\":1}",
     {.top_k = 0}},
};

static void test_what_is_said(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const model_config *expected = &cases[i].expected;
		model_config found;

		print_message("%s\n", cases[i].text);
		assert_int_equal(parse(cases[i].text, &found), UFM_OK);
		assert_string_equal(found.model_type, expected->model_type);
		assert_string_equal(found.hidden_act, expected->hidden_act);
		assert_int_equal(found.activation, expected->activation);
		assert_string_equal(found.scoring_func, expected->scoring_func);
		assert_int_equal(found.experts, expected->experts);
		assert_int_equal(found.top_k, expected->top_k);
		assert_int_equal(found.norm_topk, expected->norm_topk);
		assert_int_equal(found.scoring, expected->scoring);
		assert_true(found.act_alpha == expected->act_alpha);
		assert_true(found.act_limit == expected->act_limit);
		assert_true(found.up_offset == expected->up_offset);
		assert_string_equal(found.expert_obstacle, expected->expert_obstacle);
		assert_string_equal(found.router_obstacle, expected->router_obstacle);
	}
}

/* ---- shapes, without weights */

static const struct {
	const char *text;
	uint32_t d_model, d_hidden, experts;
	ufm_expert_kind kind;
	const char *dtype, *quantised, *obstacle;
} shapes[] = {
	{"{" WHOLE "}", 64, 32, 8, UFM_EXPERT_GATED, "", "", ""},
	{"{" WHOLE ",\"intermediate_size\":99,\"dtype\":\"float32\"}", 64, 32, 8, UFM_EXPERT_GATED,
     "float32", "", ""},
	{"{" WHOLE ",\"torch_dtype\":\"bfloat16\",\"quantization_config\":{\"quant_method\":\"fp8\"}}",
     64, 32, 8, UFM_EXPERT_GATED, "bfloat16", "fp8", ""},
	{"{\"dtype\":\"float32\",\"quantization_config\":{},\"text_config\":{" WHOLE "}}", 64, 32, 8,
     UFM_EXPERT_GATED, "float32", "quantization_config", ""},
	{"{\"dtype\":\"float32\",\"text_config\":{\"dtype\":\"bfloat16\"," WHOLE "}}", 64, 32, 8,
     UFM_EXPERT_GATED, "bfloat16", "", ""},
	{"{" WHOLE ",\"moe_latent_size\":16}", 16, 32, 8, UFM_EXPERT_GATED, "", "", ""},
	{"{" WHOLE ",\"routed_expert_hidden_size\":24}", 24, 32, 8, UFM_EXPERT_GATED, "", "", ""},
	{"{" WHOLE ",\"model_type\":\"nemotron_h\",\"mlp_hidden_act\":\"relu2\"}", 64, 32, 8,
     UFM_EXPERT_MLP, "", "", ""},
	{"{" WHOLE ",\"hidden_act\":\"relu2\",\"model_type\":\"x\"}", 64, 32, 8, UFM_EXPERT_GATED, "",
     "",
     "hidden_act is \"relu2\": whether experts have a gate then is not known of model_type \"x\""},
	{"{\"num_hidden_layers\":2," EXPERTS
     "\"moe_intermediate_size\":[0,32],\"first_k_dense_replace\":"
     "1}",
     64, 32, 8, UFM_EXPERT_GATED, "", "", ""},
	{"{\"num_hidden_layers\":2," EXPERTS "\"moe_intermediate_size\":[32]}", 64, 0, 8,
     UFM_EXPERT_GATED, "", "",
     "moe_intermediate_size is a list of 1, expected a number or one for each of 2 layers"},
	{"{\"model_type\":\"llama4_text\",\"num_hidden_layers\":2," EXPERTS
     "\"moe_intermediate_size\":7,\"intermediate_size\":32}",
     64, 32, 8, UFM_EXPERT_GATED, "", "", ""},
	{"{\"model_type\":\"llama4_text\",\"num_hidden_layers\":2," EXPERTS "\"ffn_dim\":7}", 64, 0, 8,
     UFM_EXPERT_GATED, "", "", "found none of intermediate_size, expected one"},
	{"{\"num_hidden_layers\":2," EXPERTS "\"moe_intermediate_size\":1e3}", 64, 0, 8,
     UFM_EXPERT_GATED, "", "",
     "moe_intermediate_size is 1e3, expected a whole number from 1 to 1048576"},
	{"{" WHOLE ",\"num_local_experts\":9}", 64, 32, 8, UFM_EXPERT_GATED, "", "",
     "num_experts is 8, and num_local_experts is 9"},
	{"{" WHOLE ",\"is_moe\":false}", 64, 32, 8, UFM_EXPERT_GATED, "", "",
     "is_moe is false, expected true: it has no routed experts"},
	{"{" WHOLE ",\"enable_moe_block\":true}", 64, 32, 8, UFM_EXPERT_GATED, "", "", ""},
	{"{" WHOLE ",\"model_type\":\"jetmoe\"}", 64, 32, 8, UFM_EXPERT_GATED, "", "",
     "model_type jetmoe: its attention has experts, too"},
	{"{\"num_hidden_layers\":2,\"talker_config\":{\"num_experts\":4}}", 0, 0, 0, UFM_EXPERT_GATED,
     "", "",
     "routed experts are found under talker_config alone, expected them at the top or under "
     "text_config"},
};

static void test_shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		model_config found;

		print_message("%s\n", shapes[i].text);
		assert_int_equal(parse(shapes[i].text, &found), UFM_OK);
		assert_string_equal(found.shape_obstacle, shapes[i].obstacle);
		assert_int_equal(found.d_model, shapes[i].d_model);
		assert_int_equal(found.d_hidden, shapes[i].d_hidden);
		assert_int_equal(found.experts, shapes[i].experts);
		assert_int_equal(found.kind, shapes[i].kind);
		assert_string_equal(found.dtype, shapes[i].dtype);
		assert_string_equal(found.quantised, shapes[i].quantised);
	}
}

static void test_notes(void **state)
{
	model_config found;

	(void)state;
	assert_int_equal(parse("{\"thinker_config\":{\"text_config\":{" WHOLE "}},\"talker_config\":{"
	                       "\"text_config\":{\"num_experts\":4}}}",
	                       &found),
	                 UFM_OK);
	assert_string_equal(found.shape_obstacle, "");
	assert_string_equal(found.others, "talker_config");
	assert_int_equal(parse("{\"weight_map\":{}}", &found), UFM_OK);
	assert_true(found.is_index);
	assert_int_equal(parse("{" WHOLE "}", &found), UFM_OK);
	assert_false(found.is_index);
	assert_string_equal(found.top_k_obstacle, "");
	assert_int_equal(parse("{}", &found), UFM_OK);
	assert_non_null(strstr(found.top_k_obstacle, "found none of num_experts_per_tok"));
}

static void test_malformed(void **state)
{
	static const char *const texts[][2] = {
		{"", "the text ends"},
		{"[]", "expected an object"},
		{"{\"a\":infinity}", "byte 5: found 'i', expected a value"},
		{"{\"a\":-Inf}", "byte 5: found '-', expected a value"},
		{"{\"a\":NaN0}", "found '0'"},
		{"{\"hidden_act\":\"silu\",\"hidden_act\":\"gelu\"}", "\"hidden_act\" stands twice"},
	};
	model_config found;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_error(parse(texts[i][0], &found), UFM_EFORMAT, texts[i][1]);
}

static void test_files(void **state)
{
	char folder[64], path[96];
	model_config found;

	(void)state;
	checkpoint_folder_make(folder);
	snprintf(path, sizeof path, "%s/config.json", folder);
	memset(&found, 0xff, sizeof found);
	assert_int_equal(model_config_read(NULL, NULL, &found), UFM_OK);
	assert_int_equal(found.top_k, 0);
	assert_string_equal(found.hidden_act, "");
	assert_error(model_config_read(path, NULL, &found), UFM_EFILE, path);
	checkpoint_text_write(folder, "config.json", "{\"moe_top_k\":5}");
	assert_int_equal(model_config_read(path, NULL, &found), UFM_OK);
	assert_int_equal(found.top_k, 5);
	checkpoint_text_write(folder, "config.json", "{");
	assert_error(model_config_read(path, NULL, &found), UFM_EFORMAT, path);
	checkpoint_folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_said), cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_notes),        cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests_name("model_config", tests, NULL, NULL);
}
