/* SPDX-License-Identifier: MIT */
/* Stacks of layers in one checkpoint: which there are, which is taken, and what config.json says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "bank/bank.h"
#include "support/assert_error.h"
#include "support/checkpoint_model.h"

enum { D_MODEL = 4, D_HIDDEN = 3 };

static test_model model;

static int begin(void **state)
{
	model.count = 0;
	return case_folder_make(state);
}

/* Two experts of three matrices. */
static void add_single(const char *layer, uint64_t d_hidden)
{
	for (int e = 0; e < 2; e++) {
		model_add(&model, "F32", 2, d_hidden, D_MODEL, 0, "%s.mlp.experts.%d.gate_proj.weight",
		          layer, e);
		model_add(&model, "F32", 2, d_hidden, D_MODEL, 0, "%s.mlp.experts.%d.up_proj.weight", layer,
		          e);
		model_add(&model, "F32", 2, D_MODEL, d_hidden, 0, "%s.mlp.experts.%d.down_proj.weight",
		          layer, e);
	}
}

static void add_fused(const char *layer)
{
	model_add(&model, "F32", 3, 2, UINT64_C(2) * D_HIDDEN, D_MODEL, "%s.mlp.experts.gate_up_proj",
	          layer);
	model_add(&model, "F32", 3, 2, D_MODEL, D_HIDDEN, "%s.mlp.experts.down_proj", layer);
}

/* Layers by their names, separated by spaces: "=" before a fused one, "+" before one of another width, "~"
 * before one whose names are not understood, "?" before one in a layout that is not read. */
static void write_layers(const char *layers)
{
	char text[512], *rest = text;

	model.count = 0;
	snprintf(text, sizeof text, "%s", layers);
	for (char *name; (name = strsep(&rest, " "));) {
		if (*name == '=')
			add_fused(name + 1);
		else if (*name == '+')
			add_single(name + 1, D_HIDDEN + 2);
		else if (*name == '~')
			model_add(&model, "F32", 1, 2, 0, 0, "%s.mlp.experts.0.up_proj.lora_A", name + 1);
		else if (*name == '?')
			model_add(&model, "F32", 3, 2, 2, 2, "%s.mlp.switch_mlp.up_proj.weight", name + 1);
		else
			add_single(name, D_HIDDEN);
	}
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
}

/* "model.layers: 0 1; mtp.layers: 0": the one that is taken first. */
static const char *describe(const char *prefix, char text[512])
{
	checkpoint *c;
	towers t;
	size_t used = 0;
	ufm_status status;

	assert_int_equal(checkpoint_open(case_folder, &c), UFM_OK);
	status = towers_find(c, prefix, &t);
	*text = '\0';
	for (uint32_t i = 0; !status && i < t.count; i++) {
		char name[100];

		used += (size_t)snprintf(text + used, 512 - used, "%s%s:", i ? "; " : "",
		                         tower_text(&t.items[i], name, sizeof name));
		for (uint32_t k = 0; k < t.items[i].layers; k++)
			used += (size_t)snprintf(text + used, 512 - used, " %u", t.items[i].numbers[k]);
	}
	if (status)
		snprintf(text, 512, "%s", ufm_last_error() + strlen(case_folder) + strlen(": "));
	else
		towers_free(&t);
	checkpoint_close(c);
	return text;
}

static const struct {
	const char *rule, *layers, *prefix, *config, *found;
} choices[] = {
	{"one tower", "model.layers.3 model.layers.10", NULL, NULL, "model.layers: 3 10"},
	{"of most layers, in any order of their names", "zoo.layers.0 zoo.layers.1 a.layers.1", NULL,
     NULL, "zoo.layers: 0 1; a.layers: 1"},
	{"several tokens at once", "model.layers.0 model.layers.1 mtp.layers.0", NULL, NULL,
     "model.layers: 0 1; mtp.layers: 0"},
	{"of as many, the one that is not beside another",
     "draft.layers.0 talker.model.layers.0 thinker.model.layers.0", NULL, NULL,
     "thinker.model.layers: 0; draft.layers: 0; talker.model.layers: 0"},
	{"a shard with one layer of both", "model.mtp.layers.0 model.stack.layers.7", NULL, NULL,
     "model.stack.layers: 7; model.mtp.layers: 0"},
	{"of two that are alike, the first by name", "right.layers.0 left.layers.0", NULL, NULL,
     "left.layers: 0; right.layers: 0"},
	{"alone", "mtp.layers.0", NULL, NULL, "mtp.layers: 0"},
	{"a number in the prefix", "stack.0.layers.2 stack.0.layers.3 stack.1.layers.2", NULL, NULL,
     "stack.0.layers: 2 3; stack.1.layers: 2"},
	{"numbers alone", "0 1 mtp.0", NULL, NULL, "(no name): 0 1; mtp: 0"},
	{"no numbers", "block", NULL, NULL, "block.mlp: 0"},
	{"fused beside single", "=model.layers.0 =model.layers.1 mtp.layers.0", NULL, NULL,
     "model.layers: 0 1; mtp.layers: 0"},
	{"not understood, and not read", "?model.layers.0 ?model.layers.1 mtp.layers.0 ~a.layers.4",
     NULL, NULL, "model.layers: 0 1; a.layers: 4; mtp.layers: 0"},
	{"no experts", "", NULL, NULL, ""},
	{"no experts, whatever the prefix", "", "mtp", NULL, ""},
	/* by prefix */
	{"a whole prefix", "model.layers.0 model.layers.1 mtp.layers.0", "mtp.layers", NULL,
     "mtp.layers: 0; model.layers: 0 1"},
	{"its first components", "a.model.layers.0 b.model.layers.0 b.layers.0 b.layers.1", "b.model",
     NULL, "b.model.layers: 0; b.layers: 0 1; a.model.layers: 0"},
	{"of several, the one of most layers",
     "a.model.layers.0 b.model.layers.0 b.layers.0 b.layers.1", "b.", NULL,
     "b.layers: 0 1; a.model.layers: 0; b.model.layers: 0"},
	{"components are whole", "model.layers.0 mtp.layers.0", "mt", NULL,
     "holds no routed layers under \"mt\", expected one of model.layers, mtp.layers"},
	{"a layer is no tower", "model.layers.0 model.layers.1", "model.layers.1", NULL,
     "holds no routed layers under \"model.layers.1\", expected one of model.layers"},
	{"numbers alone are no prefix's", "0 1 mtp.0", "mtp", NULL, "mtp: 0; (no name): 0 1"},
	/* past the last */
	{"past the last", "model.layers.1 model.layers.2 model.layers.3", NULL,
     "{\"num_hidden_layers\":3}", "model.layers: 1 2; model.layers.3: 3"},
	{"two past the last", "model.layers.1 model.layers.2 model.layers.3", NULL,
     "{\"num_hidden_layers\":2}", "model.layers: 1; model.layers.2: 2; model.layers.3: 3"},
	{"one past the last by its name", "model.layers.1 model.layers.2 model.layers.3",
     "model.layers.3", "{\"num_hidden_layers\":2}",
     "model.layers.3: 3; model.layers: 1; model.layers.2: 2"},
	{"the others by theirs", "model.layers.1 model.layers.2 model.layers.3", "model.layers",
     "{\"num_hidden_layers\":2}", "model.layers: 1; model.layers.2: 2; model.layers.3: 3"},
	{"a shard with those alone", "model.layers.61", NULL, "{\"num_hidden_layers\":61}",
     "model.layers.61: 61"},
	{"a shard with two of them", "model.layers.61 model.layers.62", NULL,
     "{\"num_hidden_layers\":61}", "model.layers.61: 61; model.layers.62: 62"},
	{"past the last of a part", "t.model.layers.0 t.model.layers.1 a.layers.7", "t",
     "{\"num_hidden_layers\":9,\"t_config\":{\"num_experts\":2,\"num_hidden_layers\":1}}",
     "t.model.layers: 0; a.layers: 7; t.model.layers.1: 1"},
};

static void write_config(const char *config)
{
	checkpoint_text_write(case_folder, "config.json", config ? config : "{}");
}

static void test_which_is_taken(void **state)
{
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
		print_message("rule: %s\n", choices[i].rule);
		if (*choices[i].layers)
			write_layers(choices[i].layers);
		else
			checkpoint_file_write(case_folder, "model.safetensors", model.tensors, 0, 1);
		write_config(choices[i].config);
		assert_string_equal(describe(choices[i].prefix, text), choices[i].found);
	}
}

static ufm_status open_bank(const char *prefix, uint32_t begin, uint32_t end, ufm_bank **out)
{
	const ufm_bank_checkpoint_config config = {.struct_size = sizeof config,
	                                           .activation = UFM_ACT_SILU,
	                                           .layer_begin = begin,
	                                           .layer_end = end,
	                                           .prefix = prefix};

	return ufm_bank_checkpoint(case_folder, &config, out);
}

static void assert_bank(const char *prefix, uint32_t layers, uint32_t d_hidden)
{
	ufm_bank *bank;
	ufm_bank_info info = {.struct_size = sizeof info};

	if (open_bank(prefix, 0, 0, &bank))
		fail_msg("%s", ufm_last_error());
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, layers);
	assert_int_equal(info.experts, 2);
	assert_int_equal(info.desc->d_hidden, d_hidden);
	ufm_bank_close(bank);
}

/* What is wrong with one tower is nothing to another. */
static void test_towers_are_apart(void **state)
{
	ufm_bank *bank;

	(void)state;
	write_layers("model.layers.0 model.layers.1 +mtp.layers.0");
	assert_bank(NULL, 2, D_HIDDEN);
	assert_bank("mtp", 1, D_HIDDEN + 2);
	write_layers("=model.layers.0 =model.layers.1 mtp.layers.0");
	assert_bank(NULL, 2, D_HIDDEN);
	assert_bank("mtp", 1, D_HIDDEN);
	write_layers("model.layers.0 model.layers.1 =mtp.layers.0");
	assert_bank(NULL, 2, D_HIDDEN);
	assert_bank("mtp", 1, D_HIDDEN);
	write_layers("model.layers.0 model.layers.1 ~mtp.layers.0");
	assert_bank(NULL, 2, D_HIDDEN);
	assert_error(open_bank("mtp", 0, 0, &bank), UFM_EFORMAT,
	             "not a known name of an expert's weights");
	write_layers("?model.layers.0 ?model.layers.1 mtp.layers.0");
	assert_error(open_bank(NULL, 0, 0, &bank), UFM_EFORMAT,
	             "\"model.layers.0.mlp.switch_mlp.up_proj.weight\": experts fused as MLX does");
	assert_bank("mtp", 1, D_HIDDEN);
}

static void test_layers_of_another_tower(void **state)
{
	ufm_bank *bank;

	(void)state;
	write_layers("model.layers.3 model.layers.4 mtp.layers.0");
	assert_error(open_bank(NULL, 0, 1, &bank), UFM_EFORMAT,
	             "holds no routed layer 0 under model.layers, found 3, 4; there is one under "
	             "mtp.layers, which is left aside unless its prefix is given");
	assert_error(open_bank(NULL, 1, 3, &bank), UFM_EFORMAT,
	             "holds no routed layer 1 … 2 under model.layers, found 3, 4");
	assert_null(strstr(ufm_last_error(), "left aside"));
	assert_int_equal(open_bank("mtp", 0, 1, &bank), UFM_OK);
	ufm_bank_close(bank);
	assert_error(open_bank("none", 0, 1, &bank), UFM_EFORMAT,
	             "holds no routed layers under \"none\"");
}

/* What config.json says of the tower that is taken must fit its weights. */
static void test_the_config_is_of_the_tower(void **state)
{
	static const char parts[] =
		"{\"thinker_config\":{\"text_config\":{\"num_experts\":2,\"hidden_size\":4,\"num_hidden_"
		"layers\":9,"
		"\"moe_intermediate_size\":3,\"num_experts_per_tok\":2,\"hidden_act\":\"silu\"}},"
		"\"talker_config\":{\"text_config\":{\"num_experts\":2,\"hidden_size\":4,\"num_hidden_"
		"layers\":9,"
		"\"moe_intermediate_size\":5,\"num_experts_per_tok\":1,\"hidden_act\":\"gelu\"}}}";
	const ufm_bank_checkpoint_config talker = {.struct_size = sizeof talker, .prefix = "talker"};
	ufm_bank *bank;
	ufm_bank_info info = {.struct_size = sizeof info};

	(void)state;
	write_layers("thinker.model.layers.0 +talker.model.layers.0");
	write_config(parts);
	assert_bank(NULL, 1, D_HIDDEN);
	assert_int_equal(ufm_bank_open(case_folder, &bank), UFM_OK);
	assert_int_equal(bank_towers(bank)->model.top_k, 2);
	assert_string_equal(bank_towers(bank)->model.part, "thinker_config");
	ufm_bank_close(bank);
	assert_int_equal(ufm_bank_checkpoint(case_folder, &talker, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.desc->activation, UFM_ACT_GELU);
	assert_int_equal(bank_towers(bank)->model.top_k, 1);
	ufm_bank_close(bank);
	write_layers("+thinker.model.layers.0 talker.model.layers.0");
	assert_error(open_bank(NULL, 0, 0, &bank), UFM_EFORMAT,
	             "config.json: says d_hidden 3, the weights have 5");
	/* of one that thinks alone nothing is known of one that talks */
	write_config("{\"thinker_config\":{\"num_experts\":3,\"num_experts_per_tok\":2}}");
	assert_int_equal(open_bank("talker", 0, 0, &bank), UFM_OK);
	assert_int_equal(bank_towers(bank)->model.top_k, 0);
	ufm_bank_close(bank);
	assert_error(open_bank("thinker", 0, 0, &bank), UFM_EFORMAT, "says 3 experts a layer");
	/* a key that is not understood may be what widths go by */
	write_layers("model.layers.0");
	write_config("{\"num_experts\":2,\"hidden_size\":4,\"num_hidden_layers\":1,\"moe_intermediate_"
	             "size\":9}");
	assert_error(open_bank(NULL, 0, 0, &bank), UFM_EFORMAT, "says d_hidden 9, the weights have 3");
	write_config(
		"{\"num_experts\":2,\"hidden_size\":4,\"num_hidden_layers\":1,\"moe_intermediate_size\":9,"
		"\"moe_new_width\":3}");
	assert_bank(NULL, 1, D_HIDDEN);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin, case_folder_remove)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_which_is_taken),
		IN_FOLDER(test_towers_are_apart),
		IN_FOLDER(test_layers_of_another_tower),
		IN_FOLDER(test_the_config_is_of_the_tower),
	};

	return cmocka_run_group_tests_name("towers", tests, NULL, NULL);
}
