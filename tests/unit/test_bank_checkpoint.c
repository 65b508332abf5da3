/* SPDX-License-Identifier: MIT */
/* Banks out of checkpoints: every naming scheme and dtype byte by byte, layers, activation, routers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bank/bank.h"
#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"
#include "support/assert_error.h"
#include "support/checkpoint_model.h"

static test_model model;

static int begin(void **state)
{
	model.count = 0;
	return case_folder_make(state);
}

/* The bytes of a part as they stand in the file. */
static void read_part(const model_shape *g, uint32_t layer, uint32_t expert, ufm_role role,
                      void *out, uint64_t bytes)
{
	static const char *const words[][2] = {
		[UFM_ROLE_UP] = {"up_proj.weight", "w3.weight"},
		[UFM_ROLE_GATE] = {"gate_proj.weight", "w1.weight"},
		[UFM_ROLE_DOWN] = {"down_proj.weight", "w2.weight"},
		[UFM_ROLE_UP_BIAS] = {"up_proj.bias", ""},
		[UFM_ROLE_DOWN_BIAS] = {"down_proj.bias", ""},
	};
	char name[MODEL_NAME_BYTES];
	uint64_t from = 0;

	if (g->scheme == FUSED) {
		snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%s", 2 * layer + 1,
		         role == UFM_ROLE_DOWN ? "down_proj" : "gate_up_proj");
		from =
			role == UFM_ROLE_DOWN ? expert * bytes : (2 * expert + (role == UFM_ROLE_UP)) * bytes;
	} else {
		snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%u.%s", 2 * layer + 1, expert,
		         words[role][g->scheme == LETTERS]);
	}
	checkpoint_file_read(case_folder, "model.safetensors",
	                     model_find(&model, name)->offset_bytes + from, out, bytes);
}

static void check_part(const model_shape *g, const ufm_part *part, const uint8_t *found,
                       uint32_t layer, uint32_t expert)
{
	uint64_t n = (uint64_t)part->rows * part->cols;
	uint64_t each = strcmp(g->dtype, "F32") == 0 ? 4 : 2;
	uint8_t *stored = malloc(n * each);

	assert_non_null(stored);
	read_part(g, layer, expert, part->role, stored, n * each);
	if (strcmp(g->dtype, "F16") != 0) {
		assert_memory_equal(found, stored, n * each);
	} else {
		for (uint64_t i = 0; i < n; i++) {
			uint16_t half, rounded;
			float value;

			memcpy(&half, stored + 2 * i, sizeof half);
			value = f16_to_f32(half);
			rounded = bf16_from_f32(value);
			if (part->dtype == UFM_F32)
				assert_memory_equal(found + 4 * i, &value, sizeof value);
			else
				assert_memory_equal(found + 2 * i, &rounded, sizeof rounded);
		}
	}
	free(stored);
}

/* Every byte of the payload is written: parts as in the file, and zeros between them. */
static void check_block(const model_shape *g, const ufm_bank *bank, uint32_t layer, uint32_t expert)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	uint8_t *block, *dirty;

	ufm_bank_get_info(bank, &info);
	block = malloc(info.desc->expert_bytes);
	dirty = malloc(info.desc->expert_bytes);
	assert_true(block && dirty);
	memset(block, 0, info.desc->expert_bytes);
	memset(dirty, 0xff, info.desc->expert_bytes);
	assert_int_equal(ufm_bank_read(bank, layer, expert, block), UFM_OK);
	assert_int_equal(ufm_bank_read(bank, layer, expert, dirty), UFM_OK);
	assert_memory_equal(block, dirty, info.desc->expert_bytes);
	for (uint32_t i = 0; i < info.desc->part_count; i++) {
		const ufm_part *part = &info.desc->parts[i];

		check_part(g, part, block + part->offset_bytes, layer, expert);
	}
	free(block);
	free(dirty);
}

static ufm_status open_bank(ufm_dtype f16_as, ufm_bank **out)
{
	const ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .f16_as = f16_as, .activation = UFM_ACT_SILU};

	return ufm_bank_checkpoint(case_folder, &config, out);
}

static void check_model(const model_shape *g, ufm_dtype f16_as)
{
	bool half = strcmp(g->dtype, "F16") == 0;
	ufm_dtype dtype =
		strcmp(g->dtype, "F32") == 0 || (half && f16_as != UFM_BF16) ? UFM_F32 : UFM_BF16;
	ufm_expert_kind kind = g->scheme == PLAIN    ? UFM_EXPERT_MLP
	                       : g->scheme == BIASES ? UFM_EXPERT_MLP_BIAS
	                                             : UFM_EXPERT_GATED;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank *bank = NULL;

	if (open_bank(f16_as, &bank))
		fail_msg("%s", ufm_last_error());
	ufm_bank_get_info(bank, &info);
	assert_int_equal(ufm_expert_desc_init(&desc, kind, g->d_model, g->d_hidden, dtype), UFM_OK);
	desc.activation = UFM_ACT_SILU;
	assert_memory_equal(info.desc, &desc, sizeof desc);
	assert_int_equal(info.layers, g->layers);
	assert_int_equal(info.experts, g->experts);
	for (uint32_t l = 0; l < g->layers; l++) {
		assert_int_equal(ufm_bank_layer_number(bank, l), 2 * l + 1);
		for (uint32_t x = 0; x < g->experts; x++)
			check_block(g, bank, l, x);
	}
	ufm_bank_close(bank);
}

static void test_every_scheme(void **state)
{
	static const char *const dtypes[] = {"F32", "BF16", "F16"};
	uint64_t seed = (uint64_t)time(NULL);
	rng r;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_seed(&r, seed);
	for (int s = 0; s < SCHEMES; s++) {
		for (int d = 0; d < 3; d++) {
			model_shape g = {.scheme = (model_scheme)s,
			                 .layers = 1 + rng_below(&r, 3),
			                 .experts = 1 + rng_below(&r, 5),
			                 .d_model = 1 + rng_below(&r, 40),
			                 .d_hidden = 1 + rng_below(&r, 40),
			                 .dtype = dtypes[d]};

			model_build(&model, &g);
			checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count,
			                      rng_u64(&r));
			check_model(&g, UFM_F32);
			check_model(&g, UFM_BF16);
		}
	}
}

/* More than one piece of the conversion. */
static void test_long_halves(void **state)
{
	model_shape g = {.scheme = FUSED,
	                 .layers = 1,
	                 .experts = 1,
	                 .d_model = 129,
	                 .d_hidden = 255,
	                 .dtype = "F16"};

	(void)state;
	model_build(&model, &g);
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 3);
	check_model(&g, UFM_F32);
	check_model(&g, UFM_BF16);
}

static void write_small(model_scheme scheme)
{
	model_shape g = {
		.scheme = scheme, .layers = 3, .experts = 2, .d_model = 3, .d_hidden = 2, .dtype = "F32"};

	model_build(&model, &g);
}

static void test_layers_are_chosen(void **state)
{
	ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .activation = UFM_ACT_GELU, .layer_begin = 2, .layer_end = 6};
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank *bank;

	(void)state;
	write_small(GATED);
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_int_equal(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, 2);
	assert_int_equal(info.desc->activation, UFM_ACT_GELU);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 3);
	assert_int_equal(ufm_bank_layer_number(bank, 1), 5);
	assert_non_null(bank_checkpoint(bank));
	ufm_bank_close(bank);
	config.layer_begin = 0;
	config.layer_end = 1;
	assert_error(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_EFORMAT,
	             "holds no routed layer 0, found 1, 3, 5");
	config.layer_begin = 6;
	config.layer_end = 9;
	assert_error(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_EFORMAT,
	             "holds no routed layer 6 … 8, found 1, 3, 5");
	config.layer_begin = config.layer_end = 4;
	assert_error(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_EINVAL,
	             "layers [4, 4) are none");
}

static void test_arguments(void **state)
{
	ufm_bank_checkpoint_config config = {.struct_size = sizeof config, .f16_as = (ufm_dtype)9};
	ufm_bank *bank;

	(void)state;
	assert_error(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_EINVAL, "f16_as is 9");
	config.f16_as = UFM_F32;
	config.activation = (ufm_activation)3;
	assert_error(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_EINVAL, "activation is 3");
	config.struct_size = 1;
	assert_error(ufm_bank_checkpoint(case_folder, &config, &bank), UFM_EINVAL, "struct_size is 1,");
	assert_error(ufm_bank_checkpoint(NULL, NULL, &bank), UFM_EINVAL, "path is empty");
}

static void test_activation(void **state)
{
	static const struct {
		const char *config; /* NULL: no file */
		ufm_status status;
		const char *line;
	} cases[] = {
		{NULL, UFM_EINVAL, "no hidden_act in a config.json beside the weights"},
		{"{}", UFM_EINVAL, "no hidden_act in a config.json beside the weights"},
		{"{\"hidden_act\":\"relu2\"}", UFM_EFORMAT,
	     "config.json: hidden_act is \"relu2\", expected silu or gelu"},
		{"{\"hidden_act\":\"silu\",\"swiglu_limit\":7}", UFM_EFORMAT,
	     "config.json: swiglu_limit is set, which is not understood"},
		{"{\"hidden_act\":\"silu\",\"num_experts\":3}", UFM_EFORMAT,
	     "config.json: says 3 experts a layer, the weights hold 2"},
		{"{\"hidden_act\":\"silu\",\"num_experts\":3}", UFM_EFORMAT,
	     "config.json: says 3 experts a layer, the weights hold 2"},
		{"{\"hidden_act\":", UFM_EFORMAT, "config.json: "},
	};
	ufm_bank *bank;
	ufm_bank_info info = {.struct_size = sizeof info};

	(void)state;
	write_small(GATED);
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (cases[i].config)
			checkpoint_text_write(case_folder, "config.json", cases[i].config);
		assert_error(ufm_bank_open(case_folder, &bank), cases[i].status, cases[i].line);
	}
	checkpoint_text_write(case_folder, "config.json", "{\"hidden_act\":\"silu\"}");
	assert_int_equal(ufm_bank_open(case_folder, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.desc->activation, UFM_ACT_SILU);
	ufm_bank_close(bank);
}

static void test_reads_fail_by_name(void **state)
{
	char path[96];
	uint8_t block[4096];
	ufm_bank *bank;

	(void)state;
	write_small(GATED);
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_int_equal(open_bank(UFM_F32, &bank), UFM_OK);
	snprintf(path, sizeof path, "%s/model.safetensors", case_folder);
	assert_int_equal(truncate(path, (off_t)model.tensors[0].offset_bytes), 0);
	assert_error(ufm_bank_read(bank, 0, 1, block), UFM_EEXPERT_IO, "layer 1 expert 1: ");
	assert_error(ufm_bank_read(bank, 0, 1, block), UFM_EEXPERT_IO, "the file ends here");
	ufm_bank_close(bank);
}

static void open_routers(ufm_bank **bank)
{
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_int_equal(open_bank(UFM_F32, bank), UFM_OK);
}

static void test_routers(void **state)
{
	static const char *const corrections[] = {"gate.e_score_correction_bias",
	                                          "gate.bias",
	                                          "e_score_correction_bias",
	                                          "moe_statics.e_score_correction_bias",
	                                          "expert_bias",
	                                          "routing_bias",
	                                          "router.per_expert_scale"};
	const checkpoint_tensor *t;
	char name[96];
	ufm_bank *bank;

	(void)state;
	write_small(GATED);
	open_routers(&bank);
	assert_int_equal(bank_router(bank, 1, &t), UFM_OK);
	assert_string_equal(t->name, "model.layers.3.mlp.gate.weight");
	ufm_bank_close(bank);
	model.tensors[0].name = "model.layers.1.mlp.router.weight";
	model_add(&model, "F32", 1, 2, 0, 0, "%s", corrections[0]);
	for (size_t i = 0; i < sizeof corrections / sizeof corrections[0]; i++) {
		snprintf(name, sizeof name, "model.layers.3.mlp.%s", corrections[i]);
		model.tensors[model.count - 1].name = name;
		open_routers(&bank);
		assert_int_equal(bank_router(bank, 0, &t), UFM_OK);
		assert_null(t);
		assert_error(bank_router(bank, 1, &t), UFM_EFORMAT, corrections[i]);
		assert_error(bank_router(bank, 1, &t), UFM_EFORMAT, "a router with more than a weight");
		ufm_bank_close(bank);
	}
}

/* Names without a prefix or a number are layer 0. */
static void test_bare_names(void **state)
{
	const checkpoint_tensor *t;
	ufm_bank *bank;

	(void)state;
	model_add(&model, "F32", 2, 2, 3, 0, "experts.0.up_proj.weight");
	model_add(&model, "F32", 2, 3, 2, 0, "experts.0.down_proj.weight");
	model_add(&model, "F32", 2, 1, 3, 0, "gate.weight");
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	assert_int_equal(open_bank(UFM_F32, &bank), UFM_OK);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 0);
	assert_int_equal(bank_router(bank, 0, &t), UFM_OK);
	assert_string_equal(t->name, "gate.weight");
	ufm_bank_close(bank);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin, case_folder_remove)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_every_scheme),      IN_FOLDER(test_long_halves),
		IN_FOLDER(test_layers_are_chosen), IN_FOLDER(test_arguments),
		IN_FOLDER(test_activation),        IN_FOLDER(test_reads_fail_by_name),
		IN_FOLDER(test_routers),           IN_FOLDER(test_bare_names),
	};

	return cmocka_run_group_tests_name("bank_checkpoint", tests, NULL, NULL);
}
