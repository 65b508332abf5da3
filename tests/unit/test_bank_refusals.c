/* SPDX-License-Identifier: MIT */
/* Banks out of checkpoints: every rule about experts, by name, with a model that breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/assert_error.h"
#include "support/checkpoint_model.h"

static test_model model;

static int begin(void **state)
{
	model.count = 0;
	return case_folder_make(state);
}

static ufm_status open_bank(ufm_bank **out)
{
	const ufm_bank_checkpoint_config config = {.struct_size = sizeof config,
	                                           .activation = UFM_ACT_SILU};

	return ufm_bank_checkpoint(case_folder, &config, out);
}

static void write_small(model_scheme scheme)
{
	model_shape g = {
		.scheme = scheme, .layers = 3, .experts = 2, .d_model = 3, .d_hidden = 2, .dtype = "F32"};

	model_build(&model, &g);
}

/* Changes to a good model; `tensor` is renamed or reshaped. */
static const struct {
	const char *rule;
	model_scheme scheme;
	const char *tensor, *renamed; /* NULL: keeps its name */
	const char *dtype;            /* NULL: keeps its own */
	uint64_t shape[3];            /* 0: keeps its own */
	const char *line;
} refusals[] = {
	{"experts are numbered from 0",
     GATED,
     "model.layers.1.mlp.experts.0.up_proj.weight",
     "model.layers.1.mlp.experts.2.up_proj.weight",
     NULL,
     {0},
     "lacks an up or a down matrix"},
	{"parts are whole",
     GATED,
     "model.layers.1.mlp.experts.1.up_proj.weight",
     "other",
     NULL,
     {0},
     "layer 1 expert 1: its up matrix is missing"},
	{"parts are whole in every layer",
     GATED,
     "model.layers.5.mlp.experts.1.down_proj.weight",
     "other",
     NULL,
     {0},
     "layer 5 expert 1: its down matrix is missing"},
	{"no hole in the numbers",
     PLAIN,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     "model.layers.3.mlp.experts.2.up_proj.weight",
     NULL,
     {0},
     "layer 3 expert 1: its up matrix is missing"},
	{"no expert more than in the first layer",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.5.mlp.experts.2.gate_proj.weight",
     NULL,
     {0},
     "\"model.layers.5.mlp.experts.2.gate_proj.weight\": other layers have 2 experts"},
	{"no part more than the first expert has",
     PLAIN,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.1.down_proj.bias",
     NULL,
     {0},
     "experts.1.down_proj.bias\": the first expert has no such part"},
	{"no part twice",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.1.w1.weight",
     NULL,
     {0},
     "are both the gate matrix of layer 3"},
	{"one block of experts in a layer",
     GATED,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     "model.layers.3.attention.experts.1.up_proj.weight",
     NULL,
     {0},
     "are both of layer 3"},
	{"known names",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.0.up_proj.lora_A",
     NULL,
     {0},
     "up_proj.lora_A\": not a known name of an expert's weights"},
	{"plain numbers",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.00.up_proj.weight",
     NULL,
     {0},
     "not a known name"},
	{"no scales",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.0.up_proj.weight_scale_inv",
     NULL,
     {0},
     "quantised experts are not understood"},
	{"no blocks",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.gate_up_proj_blocks",
     NULL,
     {0},
     "quantised experts are not understood"},
	{"no fused biases",
     FUSED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.gate_up_proj_bias",
     NULL,
     {0},
     "fused experts with biases have layouts"},
	{"no bias of a gated expert",
     GATED,
     "model.layers.0.mlp.up_proj.weight",
     "model.layers.1.mlp.experts.0.up_proj.bias",
     NULL,
     {0},
     "has a gate and biases"},
	{"no bias of a gate",
     GATED,
     "model.layers.0.mlp.up_proj.weight",
     "model.layers.1.mlp.experts.0.gate_proj.bias",
     NULL,
     {0},
     "has a gate and biases"},
	{"both biases",
     PLAIN,
     "model.layers.0.mlp.up_proj.weight",
     "model.layers.1.mlp.experts.0.up_proj.bias",
     NULL,
     {0},
     "a bias for one of its matrices only"},
	{"fused or single",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.down_proj",
     NULL,
     {0},
     "fused and single experts"},
	{"fused matrices are whole",
     FUSED,
     "model.layers.3.mlp.experts.gate_up_proj",
     "other",
     NULL,
     {0},
     "layer 3: the fused gate matrix of its experts is missing"},
	{"one dtype",
     GATED,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     NULL,
     "BF16",
     {0},
     "dtype is BF16, of other experts F32"},
	{"one shape",
     GATED,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     NULL,
     NULL,
     {3, 3, 0},
     "shape is [3, 3], expected [2, 3]"},
	{"up is not transposed",
     GATED,
     "model.layers.1.mlp.experts.0.up_proj.weight",
     NULL,
     NULL,
     {3, 2, 0},
     "shape is [3, 2], expected [2, 3]"},
	{"experts are there",
     FUSED,
     "model.layers.1.mlp.experts.down_proj",
     NULL,
     NULL,
     {UINT64_MAX, 3, 2},
     "a dimension is 0, expected 1 … 65536"},
	{"one number of fused experts",
     FUSED,
     "model.layers.3.mlp.experts.down_proj",
     NULL,
     NULL,
     {3, 3, 2},
     "shape is [3, 3, 2], expected [2, 3, 2]"},
};

static void change(size_t i)
{
	test_tensor *t = model_find(&model, refusals[i].tensor);

	if (refusals[i].renamed)
		t->name = refusals[i].renamed;
	if (refusals[i].dtype)
		t->dtype = refusals[i].dtype;
	for (uint32_t d = 0; d < 3 && refusals[i].shape[d]; d++)
		t->shape[d] = refusals[i].shape[d] == UINT64_MAX ? 0 : refusals[i].shape[d];
}

static void test_refusals_are_named(void **state)
{
	ufm_bank *bank;

	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		print_message("rule: %s\n", refusals[i].rule);
		write_small(refusals[i].scheme);
		change(i);
		checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
		assert_error(open_bank(&bank), UFM_EFORMAT, refusals[i].line);
	}
}

static void test_other_refusals(void **state)
{
	ufm_bank *bank;

	(void)state;
	/* dense layers and shared experts are no routed experts */
	model_add(&model, "F32", 2, 2, 2, 0, "model.layers.0.mlp.shared_experts.up_proj.weight");
	model_add(&model, "F32", 2, 2, 2, 0, "model.layers.0.mlp.up_proj.weight");
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_error(open_bank(&bank), UFM_EFORMAT, "holds no routed experts");
	/* d_model 3, d_hidden 2: [experts, d_model, 2 d_hidden] and [experts, d_hidden, d_model] */
	model_add(&model, "F32", 3, 2, 3, 4, "model.layers.0.mlp.experts.gate_up_proj");
	model_add(&model, "F32", 3, 2, 2, 3, "model.layers.0.mlp.experts.down_proj");
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_error(open_bank(&bank), UFM_EFORMAT, "fused matrices are transposed");
	model.count = 0;
	model_add(&model, "I8", 2, 2, 2, 0, "experts.0.up_proj.weight");
	model_add(&model, "I8", 2, 2, 2, 0, "experts.0.down_proj.weight");
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_error(open_bank(&bank), UFM_EFORMAT, "experts have dtype I8, expected F32, BF16 or F16");
	model.tensors[0].dtype = model.tensors[1].dtype = "F32";
	model.tensors[0].shape[0] = model.tensors[1].shape[1] = 0;
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_error(open_bank(&bank), UFM_EFORMAT, "a dimension is 0");
	model.tensors[1].rank = 1;
	model.tensors[1].shape[0] = 4;
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_error(open_bank(&bank), UFM_EFORMAT, "has 1 dimensions, expected 2");
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin, case_folder_remove)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_refusals_are_named),
		IN_FOLDER(test_other_refusals),
	};

	return cmocka_run_group_tests_name("bank_refusals", tests, NULL, NULL);
}
