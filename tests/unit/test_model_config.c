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
	status = model_config_parse(copy, size, out);
	free(copy);
	return status;
}

static const struct {
	const char *text;
	model_config expected;
} cases[] = {
	{"{}", {.top_k = 0}},
	{"{\"hidden_act\":\"silu\"}", {.hidden_act = "silu", .activation = UFM_ACT_SILU}},
	{"{\"hidden_act\":\"swish\"}", {.hidden_act = "swish", .activation = UFM_ACT_SILU}},
	{"{\"hidden_act\":\"gelu\"}", {.hidden_act = "gelu", .activation = UFM_ACT_GELU}},
	/* the tanh form of GELU is another function */
	{"{\"hidden_act\":\"gelu_new\"}", {.hidden_act = "gelu_new"}},
	{"{\"hidden_act\":\"relu\"}", {.hidden_act = "relu"}},
	{"{\"hidden_act\":null,\"norm_topk_prob\":null,\"num_experts_per_tok\":null,\"n_group\":null,"
     "\"routed_scaling_factor\":null,\"swiglu_limit\":null,\"scoring_func\":null}",
     {.top_k = 0}},
	{"{\"num_experts_per_tok\":8}", {.top_k = 8}},
	{"{\"num_experts_per_token\":3}", {.top_k = 3}},
	{"{\"moe_top_k\":2,\"moe_topk\":2}", {.top_k = 2}},
	/* a setting of text generation */
	{"{\"top_k\":50}", {.top_k = 0}},
	{"{\"moe_top_k\":2,\"moe_topk\":3}",
     {.top_k = 2, .router_obstacle = "moe_topk is 3, another key says otherwise"}},
	{"{\"moe_topk\":[1,2]}", {.router_obstacle = "moe_topk is no number"}},
	{"{\"num_experts_per_tok\":0}", {.router_obstacle = "num_experts_per_tok is 0"}},
	{"{\"norm_topk_prob\":true}", {.norm_topk = MODEL_YES}},
	{"{\"norm_topk_prob\":false}", {.norm_topk = MODEL_NO}},
	{"{\"scoring_func\":\"softmax\"}", {.scoring_func = "softmax", .scoring = UFM_SCORE_SOFTMAX}},
	{"{\"scoring_func\":\"sigmoid\"}", {.scoring_func = "sigmoid", .scoring = UFM_SCORE_SIGMOID}},
	{"{\"scoring_func\":\"relu\"}", {.scoring_func = "relu"}},
	{"{\"num_experts\":64,\"num_local_experts\":64}", {.experts = 64}},
	{"{\"n_routed_experts\":256}", {.experts = 256}},
	{"{\"num_experts\":64,\"num_local_experts\":8}",
     {.experts = 64, .expert_obstacle = "num_local_experts is 8, another key says otherwise"}},
	{"{\"n_group\":1,\"topk_group\":1,\"routed_scaling_factor\":1.0,\"topk_method\":\"greedy\"}",
     {.top_k = 0}},
	{"{\"n_group\":8}", {.router_obstacle = "n_group is 8, expected 1"}},
	{"{\"topk_group\":4}", {.router_obstacle = "topk_group is 4, expected 1"}},
	{"{\"routed_scaling_factor\":2.5}",
     {.router_obstacle = "routed_scaling_factor is 2.5, expected 1"}},
	{"{\"topk_method\":\"noaux_tc\"}",
     {.router_obstacle = "topk_method is \"noaux_tc\", expected greedy"}},
	{"{\"use_expert_bias\":true}",
     {.router_obstacle = "use_expert_bias is true, which is not understood"}},
	{"{\"use_expert_bias\":false}", {.top_k = 0}},
	{"{\"swiglu_limit\":7.0}", {.expert_obstacle = "swiglu_limit is set, which is not understood"}},
	/* always normalised, whatever the file says */
	{"{\"model_type\":\"mixtral\",\"num_experts_per_tok\":2,\"norm_topk_prob\":false}",
     {.model_type = "mixtral", .top_k = 2, .scoring = UFM_SCORE_SOFTMAX, .norm_topk = MODEL_YES}},
	{"{\"norm_topk_prob\":true,\"model_type\":\"qwen3_moe\"}",
     {.model_type = "qwen3_moe", .scoring = UFM_SCORE_SOFTMAX, .norm_topk = MODEL_YES}},
	{"{\"model_type\":\"qwen2_moe\"}", {.model_type = "qwen2_moe", .scoring = UFM_SCORE_SOFTMAX}},
	{"{\"model_type\":\"unheard_of\"}", {.model_type = "unheard_of"}},
	{"{\"model_type\":\"gpt_oss\"}",
     {.model_type = "gpt_oss",
      .expert_obstacle = "model_type gpt_oss: its activation is not understood"}},
	{"{\"text_config\":{\"hidden_act\":\"relu\"},\"x\":[{\"n_group\":3}]}", {.top_k = 0}},
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
		assert_string_equal(found.expert_obstacle, expected->expert_obstacle);
		assert_string_equal(found.router_obstacle, expected->router_obstacle);
	}
}

static void test_malformed(void **state)
{
	static const char *const texts[][2] = {
		{"", "the text ends"},
		{"[]", "expected an object"},
		{"{\"hidden_act\":1}", "hidden_act: byte 14: found '1', expected a string"},
		{"{\"norm_topk_prob\":\"yes\"}", "norm_topk_prob: "},
		{"{\"num_experts_per_tok\":-1}", "num_experts_per_tok: found -1"},
		{"{\"num_experts_per_tok\":2.5}", "num_experts_per_tok: found 2.5"},
		{"{\"n_group\":\"8\"}", "n_group: "},
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
	assert_int_equal(model_config_read(NULL, &found), UFM_OK);
	assert_int_equal(found.top_k, 0);
	assert_string_equal(found.hidden_act, "");
	assert_error(model_config_read(path, &found), UFM_EFILE, path);
	checkpoint_text_write(folder, "config.json", "{\"moe_top_k\":5}");
	assert_int_equal(model_config_read(path, &found), UFM_OK);
	assert_int_equal(found.top_k, 5);
	checkpoint_text_write(folder, "config.json", "{");
	assert_error(model_config_read(path, &found), UFM_EFORMAT, path);
	checkpoint_folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_said),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests_name("model_config", tests, NULL, NULL);
}
