/* SPDX-License-Identifier: MIT */
/* Banks of GGUF files: where experts' bytes are from, kinds of layers, files that a model was split into, and what is
 * refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank.h"
#include "checkpoint/gguf.h"
#include "support/assert_error.h"
#include "support/checkpoint_file.h"
#include "support/gguf_file.h"

enum { F32 = 0, F16 = 1, Q2_K = 10, Q4_K = 12, Q6_K = 14, Q8_0 = 8, BF16 = 30 };
enum { D_MODEL = 64, D_HIDDEN = 32, EXPERTS = 3 };

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", case_folder, name);
	return path;
}

static void begin(gguf_words *w, const char *architecture)
{
	memset(w, 0, sizeof *w);
	gguf_add_text(w, "general.architecture", architecture);
}

static ufm_status open_kind(const char *name, uint32_t geometry, ufm_bank **out)
{
	const ufm_bank_checkpoint_config config = {.struct_size = sizeof config, .geometry = geometry};

	return ufm_bank_checkpoint(path_of(name), &config, out);
}

static ufm_bank_info info_of(const ufm_bank *bank)
{
	ufm_bank_info info = {.struct_size = sizeof info};

	assert_int_equal(ufm_bank_get_info(bank, &info), UFM_OK);
	return info;
}

/* The bytes of one part of an expert must be those of the file from there on. */
static void assert_part(const ufm_bank *bank, uint32_t layer, uint32_t expert, ufm_role role,
                        const char *file, uint64_t offset_bytes)
{
	const ufm_expert_desc *desc = info_of(bank).desc;
	const ufm_part *part = ufm_expert_part(desc, role);
	uint8_t *block = malloc(desc->expert_bytes), *expected = malloc(desc->expert_bytes);
	uint64_t bytes;

	assert_non_null(block);
	assert_non_null(expected);
	assert_non_null(part);
	bytes = part->format ? part->rows * ufm_format_bytes((ufm_format)part->format, part->cols)
	                     : (uint64_t)part->rows * part->cols * ufm_dtype_bytes(part->dtype);
	assert_int_equal(ufm_bank_read(bank, layer, expert, block), UFM_OK);
	checkpoint_file_read(case_folder, file, offset_bytes, expected, bytes);
	assert_memory_equal(block + part->offset_bytes, expected, bytes);
	free(block);
	free(expected);
}

/* ---- where bytes are from */

static void test_stacked_experts(void **state)
{
	const uint64_t expert = D_HIDDEN * D_MODEL / 32 * 34;
	gguf_words w;
	ufm_bank *bank;
	ufm_bank_info info;

	(void)state;
	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 4, Q8_0, Q8_0, D_MODEL, D_HIDDEN, EXPERTS);
	uint64_t at = gguf_words_write(&w, case_folder, "a.gguf", 1);
	assert_int_equal(ufm_bank_open(path_of("a.gguf"), &bank), UFM_OK);
	info = info_of(bank);
	assert_int_equal(info.layers, 1);
	assert_int_equal(info.experts, EXPERTS);
	assert_int_equal(info.geometries, 1);
	assert_int_equal(info.desc->activation, UFM_ACT_SILU);
	assert_int_equal(info.desc->expert_bytes, 3 * expert);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 4);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		assert_part(bank, 0, e, UFM_ROLE_GATE, "a.gguf", at + e * expert);
		assert_part(bank, 0, e, UFM_ROLE_UP, "a.gguf", at + (EXPERTS + e) * expert);
		assert_part(bank, 0, e, UFM_ROLE_DOWN, "a.gguf", at + (2 * EXPERTS + e) * expert);
	}
	ufm_bank_close(bank);
}

/* Gate rows, then up rows, of each expert. */
static void test_fused_experts(void **state)
{
	const uint64_t matrix = D_HIDDEN * D_MODEL * 2;
	gguf_words w;
	ufm_bank *bank;

	(void)state;
	begin(&w, "qwen3moe");
	gguf_add_tensor(&w, "blk.0.ffn_gate_up_exps.weight", BF16, D_MODEL, 2 * D_HIDDEN, EXPERTS);
	gguf_add_tensor(&w, "blk.0.ffn_down_exps.weight", BF16, D_HIDDEN, D_MODEL, EXPERTS);
	uint64_t at = gguf_words_write(&w, case_folder, "a.gguf", 2);
	assert_int_equal(open_kind("a.gguf", 0, &bank), UFM_OK);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		assert_part(bank, 0, e, UFM_ROLE_GATE, "a.gguf", at + 2 * e * matrix);
		assert_part(bank, 0, e, UFM_ROLE_UP, "a.gguf", at + (2 * e + 1) * matrix);
		assert_part(bank, 0, e, UFM_ROLE_DOWN, "a.gguf", at + (2 * EXPERTS + e) * matrix);
	}
	ufm_bank_close(bank);
}

/* A tensor for each expert; tensors of ten and more are not in the order of their names. */
static void test_single_experts(void **state)
{
	static const char *const matrices[] = {"gate", "up", "down"};
	static const ufm_role roles[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};
	const uint64_t matrix = D_HIDDEN * D_MODEL * 2;
	enum { COUNT = 12 };
	gguf_words w;
	ufm_bank *bank;

	(void)state;
	begin(&w, "llama");
	for (uint32_t e = 0; e < COUNT; e++) {
		for (int m = 0; m < 3; m++) {
			char name[64];
			snprintf(name, sizeof name, "blk.7.ffn_%s.%u.weight", matrices[m], e);
			gguf_add_tensor(&w, name, F16, m < 2 ? D_MODEL : D_HIDDEN, m < 2 ? D_HIDDEN : D_MODEL,
			                0);
		}
	}
	uint64_t at = gguf_words_write(&w, case_folder, "a.gguf", 3);
	assert_int_equal(open_kind("a.gguf", 0, &bank), UFM_OK);
	assert_int_equal(info_of(bank).experts, COUNT);
	assert_int_equal(info_of(bank).desc->parts[0].dtype, UFM_F16);
	for (uint32_t e = 0; e < COUNT; e++)
		for (uint32_t m = 0; m < 3; m++)
			assert_part(bank, 0, e, roles[m], "a.gguf", at + (3 * e + m) * matrix);
	ufm_bank_close(bank);
}

/* Biases are F32 beside any type, and go to the parts that gpt-oss needs. */
static void test_biases(void **state)
{
	gguf_words w;
	ufm_bank *bank;
	const ufm_expert_desc *desc;

	(void)state;
	begin(&w, "gpt-oss");
	gguf_add_layer(&w, 0, 39, 39, D_MODEL, D_HIDDEN, EXPERTS);
	uint64_t bias_at = w.payload_bytes;
	gguf_add_tensor(&w, "blk.0.ffn_gate_exps.bias", F32, D_HIDDEN, EXPERTS, 0);
	gguf_add_tensor(&w, "blk.0.ffn_up_exps.bias", F32, D_HIDDEN, EXPERTS, 0);
	gguf_add_tensor(&w, "blk.0.ffn_down_exps.bias", F32, D_MODEL, EXPERTS, 0);
	uint64_t at = gguf_words_write(&w, case_folder, "a.gguf", 4);
	assert_int_equal(open_kind("a.gguf", 0, &bank), UFM_OK);
	desc = info_of(bank).desc;
	assert_int_equal(desc->part_count, 6);
	assert_true(desc->act_alpha > 1.7019f && desc->act_alpha < 1.7021f);
	assert_true(desc->gate_limit >= 7 && desc->gate_limit <= 7 && desc->up_limit >= 7);
	assert_true(desc->up_offset >= 1 && desc->up_offset <= 1);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		uint64_t of_gates = EXPERTS * D_HIDDEN * 4;
		assert_part(bank, 0, e, UFM_ROLE_GATE_BIAS, "a.gguf", at + bias_at + e * D_HIDDEN * 4);
		assert_part(bank, 0, e, UFM_ROLE_DOWN_BIAS, "a.gguf",
		            at + bias_at + 2 * of_gates + e * D_MODEL * 4);
	}
	ufm_bank_close(bank);
}

/* ---- kinds */

static void write_kinds(void)
{
	gguf_words w;

	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 0, Q4_K, Q6_K, 256, 256, 2);
	gguf_add_layer(&w, 1, Q4_K, Q4_K, 256, 256, 2);
	gguf_add_layer(&w, 2, Q4_K, Q4_K, 256, 256, 2);
	gguf_add_layer(&w, 5, Q4_K, Q6_K, 256, 256, 2);
	gguf_add_layer(&w, 6, Q8_0, F16, 256, 256, 2);
	gguf_words_write(&w, case_folder, "a.gguf", 5);
}

static void test_kinds(void **state)
{
	static const uint32_t numbers[3][2] = {{0, 5}, {1, 2}, {6, 6}}, layers[3] = {2, 2, 1};
	ufm_bank *bank;

	(void)state;
	write_kinds();
	for (uint32_t k = 0; k < 3; k++) {
		assert_int_equal(open_kind("a.gguf", k + 1, &bank), UFM_OK);
		assert_int_equal(info_of(bank).geometries, 3);
		assert_int_equal(info_of(bank).layers, layers[k]);
		for (uint32_t i = 0; i < layers[k]; i++)
			assert_int_equal(ufm_bank_layer_number(bank, i), numbers[k][i]);
		ufm_bank_close(bank);
	}
	assert_error(
		open_kind("a.gguf", 0, &bank), UFM_EINVAL,
		"geometry is 0, expected one of 3 kinds of layers (1: gate Q4_K, up Q4_K, down Q6_K "
		"in layers 0, 5; 2: Q4_K in layers 1 … 2; 3: gate Q8_0, up Q8_0, down f16 in "
		"layers 6)");
	assert_error(ufm_bank_open(path_of("a.gguf"), &bank), UFM_EINVAL, "geometry is 0");
	assert_error(open_kind("a.gguf", 4, &bank), UFM_EINVAL, "geometry is 4, expected at most 3");
}

/* Of the layers that are chosen alone. */
static void test_kinds_of_a_range(void **state)
{
	const ufm_bank_checkpoint_config one = {
		.struct_size = sizeof one, .layer_begin = 5, .layer_end = 6};
	const ufm_bank_checkpoint_config two = {
		.struct_size = sizeof two, .layer_begin = 1, .layer_end = 6, .geometry = 2};
	const ufm_bank_checkpoint_config none = {
		.struct_size = sizeof none, .layer_begin = 3, .layer_end = 4};
	ufm_bank *bank;

	(void)state;
	write_kinds();
	assert_int_equal(ufm_bank_checkpoint(path_of("a.gguf"), &one, &bank), UFM_OK);
	assert_int_equal(info_of(bank).geometries, 1);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 5);
	ufm_bank_close(bank);
	assert_int_equal(ufm_bank_checkpoint(path_of("a.gguf"), &two, &bank), UFM_OK);
	assert_int_equal(info_of(bank).geometries, 2);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 5);
	ufm_bank_close(bank);
	assert_error(ufm_bank_checkpoint(path_of("a.gguf"), &none, &bank), UFM_EFORMAT,
	             "layer 3 has no routed experts under \"blk\"");
}

/* A caller that knows no geometries is told none. */
static void test_an_older_caller(void **state)
{
	struct {
		ufm_bank_info info;
		uint8_t behind;
	} room = {.info.struct_size = offsetof(ufm_bank_info, geometries), .info.geometries = 77};
	ufm_bank *bank;

	(void)state;
	write_kinds();
	assert_int_equal(open_kind("a.gguf", 1, &bank), UFM_OK);
	assert_int_equal(ufm_bank_get_info(bank, &room.info), UFM_OK);
	assert_int_equal(room.info.layers, 2);
	assert_int_equal(room.info.geometries, 77);
	ufm_bank_close(bank);
}

static void test_other_banks_are_of_one_kind(void **state)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;

	(void)state;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, 8, 8, UFM_F32), UFM_OK);
	assert_int_equal(
		ufm_bank_synthetic(
			&(ufm_bank_synthetic_config){
				.struct_size = sizeof(ufm_bank_synthetic_config), .experts = 1, .desc = &desc},
			&bank),
		UFM_OK);
	assert_int_equal(info_of(bank).geometries, 1);
	ufm_bank_close(bank);
}

/* ---- several files */

static void write_shard(uint32_t number, uint32_t count, uint32_t tensors, const char *name)
{
	gguf_words w = {.key_count = 0};

	if (number == 0)
		gguf_add_text(&w, "general.architecture", "qwen3moe");
	gguf_add_u32(&w, "split.no", number);
	gguf_add_u32(&w, "split.count", count);
	gguf_add_u32(&w, "split.tensors.count", tensors);
	gguf_add_layer(&w, number, Q8_0, Q8_0, D_MODEL, D_HIDDEN, EXPERTS);
	gguf_words_write(&w, case_folder, name, 10 + number);
}

static void write_shards(void)
{
	write_shard(0, 2, 8, "m-00001-of-00002.gguf");
	write_shard(1, 2, 8, "m-00002-of-00002.gguf");
}

static void test_any_shard_opens_all(void **state)
{
	static const char *const names[] = {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf", ""};
	ufm_bank *bank;

	(void)state;
	write_shards();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(open_kind(names[i], 0, &bank), UFM_OK);
		assert_int_equal(info_of(bank).layers, 2);
		assert_int_equal(checkpoint_file_count(bank_checkpoint(bank)), 2);
		assert_string_equal(checkpoint_format_name(bank_checkpoint(bank)), "gguf");
		ufm_bank_close(bank);
	}
}

static void test_shards_are_whole(void **state)
{
	ufm_bank *bank;

	(void)state;
	write_shards();
	remove(path_of("m-00002-of-00002.gguf"));
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFILE,
	             "m-00002-of-00002.gguf: cannot be opened");
	write_shard(1, 3, 8, "m-00002-of-00002.gguf");
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT,
	             "m-00002-of-00002.gguf: split.no 1 of split.count 3, 8 tensors in all; expected 1 "
	             "of 2, 8 tensors");
	write_shard(0, 2, 8, "m-00002-of-00002.gguf");
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT, "expected 1 of 2");
	write_shard(0, 2, 9, "m-00001-of-00002.gguf");
	write_shard(1, 2, 9, "m-00002-of-00002.gguf");
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT,
	             "split.tensors.count is 9, the 2 files hold 8");
	write_shard(2, 2, 8, "m-00001-of-00002.gguf");
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT,
	             "split.no is 2, expected 0 … 1");
	write_shard(0, 5000, 8, "m-00001-of-00002.gguf");
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT,
	             "split.count is 5000, expected 0 … 4096");
}

static void test_names_of_shards_lead_to_the_others(void **state)
{
	ufm_bank *bank;

	(void)state;
	write_shard(0, 2, 8, "model.gguf");
	assert_error(open_kind("model.gguf", 0, &bank), UFM_EFORMAT,
	             "is file 1 of 2 of its model, expected a name that ends with "
	             "-00001-of-00002.gguf");
	write_shard(1, 2, 8, "m-00001-of-00002.gguf");
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT,
	             "expected a name that ends with -00002-of-00002.gguf");
}

static void test_tensors_of_two_files(void **state)
{
	gguf_words w = {.key_count = 0};
	ufm_bank *bank;

	(void)state;
	write_shards();
	gguf_add_u32(&w, "split.no", 1);
	gguf_add_u32(&w, "split.count", 2);
	gguf_add_u32(&w, "split.tensors.count", 8);
	gguf_add_layer(&w, 0, Q8_0, Q8_0, D_MODEL, D_HIDDEN, EXPERTS);
	gguf_words_write(&w, case_folder, "m-00002-of-00002.gguf", 1);
	assert_error(open_kind("m-00001-of-00002.gguf", 0, &bank), UFM_EFORMAT,
	             "tensor \"blk.0.ffn_down_exps.weight\" is also in");
}

/* ---- whose file it is */

static void test_formats(void **state)
{
	gguf_words w;
	ufm_bank *bank;

	(void)state;
	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 0, Q8_0, Q8_0, D_MODEL, D_HIDDEN, EXPERTS);
	gguf_words_write(&w, case_folder, "blob", 1);
	assert_true(bank_is_checkpoint(path_of("blob")));
	assert_int_equal(ufm_bank_open(path_of("blob"), &bank), UFM_OK);
	ufm_bank_close(bank);
	assert_true(bank_is_checkpoint(path_of("none.gguf")));
	assert_false(bank_is_checkpoint(path_of("none")));
	checkpoint_text_write(case_folder, "other", "UFMBANK1");
	assert_false(bank_is_checkpoint(path_of("other")));
	assert_error(ufm_bank_open(path_of("none.gguf"), &bank), UFM_EFILE, "none.gguf: ");
	/* A folder with files of neither format, or of several models. */
	assert_error(open_kind("", 0, &bank), UFM_EFILE, "holds 0 .safetensors files");
	gguf_words_write(&w, case_folder, "a.gguf", 1);
	assert_int_equal(open_kind("", 0, &bank), UFM_OK);
	ufm_bank_close(bank);
	gguf_words_write(&w, case_folder, "b.gguf", 1);
	assert_error(open_kind("", 0, &bank), UFM_EFILE, "holds 2 models in .gguf files, expected one");
	/* Where there are weights of both, those of the older format are taken. */
	checkpoint_text_write(case_folder, "model.safetensors", "");
	assert_error(open_kind("", 0, &bank), UFM_EFORMAT, "model.safetensors: holds 0 bytes");
}

/* ---- what is refused */

static void refuse(const gguf_words *w, const char *line)
{
	ufm_bank *bank;

	gguf_words_write(w, case_folder, "a.gguf", 1);
	print_message("%s\n", line);
	assert_error(open_kind("a.gguf", 0, &bank), UFM_EFORMAT, line);
}

static void test_layers_that_are_not_whole(void **state)
{
	gguf_words w;

	(void)state;
	begin(&w, "qwen3moe");
	refuse(&w, "holds no routed experts (tensors blk.N.ffn_up_exps.…)");
	gguf_add_tensor(&w, "blk.3.ffn_gate_exps.weight", Q8_0, 64, 32, 3);
	refuse(&w, "layer 3: the up matrix of its experts is missing");
	gguf_add_tensor(&w, "blk.3.ffn_up_exps.weight", Q8_0, 64, 32, 3);
	refuse(&w, "layer 3: the down matrix of its experts is missing");
	gguf_add_tensor(&w, "blk.3.ffn_down_exps.weight", Q8_0, 32, 64, 2);
	refuse(&w, "tensor \"blk.3.ffn_gate_exps.weight\": shape is [3, 32, 64], expected [2, 32, 64]");
	begin(&w, "qwen3moe");
	gguf_add_tensor(&w, "blk.0.ffn_up_exps.weight", Q8_0, 64, 32, 3);
	gguf_add_tensor(&w, "blk.0.ffn_down_exps.weight", Q8_0, 32, 64, 3);
	refuse(&w, "layer 0: the gate matrix of its experts is missing");
	begin(&w, "nemotron_h_moe");
	gguf_add_layer(&w, 0, Q8_0, Q8_0, 64, 32, 3);
	refuse(&w, "\"blk.0.ffn_gate_exps.weight\": its architecture's experts have no gate");
	begin(&w, "qwen3moe");
	gguf_add_tensor(&w, "blk.0.ffn_down_exps.weight", Q8_0, 32, 64, 0);
	gguf_add_tensor(&w, "blk.0.ffn_up_exps.weight", Q8_0, 64, 32, 3);
	gguf_add_tensor(&w, "blk.0.ffn_gate_exps.weight", Q8_0, 64, 32, 3);
	refuse(&w, "\"blk.0.ffn_down_exps.weight\": has 2 dimensions, expected 3");
}

static void test_single_experts_that_are_not_whole(void **state)
{
	gguf_words w;

	(void)state;
	begin(&w, "llama");
	gguf_add_tensor(&w, "blk.0.ffn_gate.0.weight", Q8_0, 64, 32, 0);
	gguf_add_tensor(&w, "blk.0.ffn_up.0.weight", Q8_0, 64, 32, 0);
	gguf_add_tensor(&w, "blk.0.ffn_down.0.weight", Q8_0, 32, 64, 0);
	gguf_add_tensor(&w, "blk.0.ffn_down.1.weight", Q8_0, 32, 64, 0);
	refuse(&w, "layer 0: 1 experts have a gate matrix, 2 a down matrix");
	gguf_add_tensor(&w, "blk.0.ffn_gate.2.weight", Q8_0, 64, 32, 0);
	refuse(&w, "layer 0 expert 1: its gate matrix is missing");
	begin(&w, "llama");
	gguf_add_tensor(&w, "blk.0.ffn_gate.0.weight", Q8_0, 64, 32, 0);
	gguf_add_tensor(&w, "blk.0.ffn_up.0.weight", Q8_0, 64, 32, 0);
	gguf_add_tensor(&w, "blk.0.ffn_down.0.weight", Q8_0, 32, 64, 0);
	gguf_add_tensor(&w, "blk.0.ffn_down.1.weight", F32, 32, 64, 0);
	gguf_add_tensor(&w, "blk.0.ffn_up.1.weight", Q8_0, 64, 32, 0);
	gguf_add_tensor(&w, "blk.0.ffn_gate.1.weight", Q8_0, 64, 32, 0);
	refuse(&w, "\"blk.0.ffn_down.1.weight\": its type is F32, of \"blk.0.ffn_down.0.weight\" Q8_0");
	gguf_add_tensor(&w, "blk.0.ffn_down.01.weight", Q8_0, 32, 64, 0);
	refuse(&w, "\"blk.0.ffn_down.01.weight\": not a known name of an expert's weights");
}

static void test_types_and_biases(void **state)
{
	gguf_words w;

	(void)state;
	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 0, Q2_K, Q8_0, 256, 256, 2);
	refuse(&w, "\"blk.0.ffn_gate_exps.weight\": experts of type Q2_K are not understood, expected "
	           "F32, F16, BF16, Q8_0");
	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 0, 24, Q8_0, 64, 32, 2);
	refuse(&w, "experts of type I8 are not understood");
	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 0, Q8_0, Q8_0, 64, 32, 2);
	gguf_add_tensor(&w, "blk.0.ffn_up_exps.bias", F16, 32, 2, 0);
	refuse(&w, "\"blk.0.ffn_up_exps.bias\": a bias of type F16, expected F32");
	begin(&w, "qwen3moe");
	gguf_add_layer(&w, 0, Q8_0, Q8_0, 64, 32, 2);
	gguf_add_tensor(&w, "blk.0.ffn_up_exps.bias", F32, 2, 32, 0);
	refuse(&w, "\"blk.0.ffn_up_exps.bias\": shape is [32, 2], expected [2, 32]");
}

static void test_unknown_architectures(void **state)
{
	gguf_words w;

	(void)state;
	begin(&w, "starling");
	gguf_add_layer(&w, 0, Q8_0, Q8_0, 64, 32, 2);
	refuse(&w, "general.architecture is \"starling\": what its experts compute is not known");
	memset(&w, 0, sizeof w);
	gguf_add_layer(&w, 0, Q8_0, Q8_0, 64, 32, 2);
	refuse(&w, "general.architecture is \"\": what its experts compute is not known");
}

static void test_geometry_of_other_formats(void **state)
{
	test_tensor tensors[] = {
		{.name = "l.0.experts.0.up_proj.weight", .dtype = "F32", .rank = 2, .shape = {4, 8}},
		{.name = "l.0.experts.0.down_proj.weight", .dtype = "F32", .rank = 2, .shape = {8, 4}}};
	ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .activation = UFM_ACT_GELU, .geometry = 1};
	ufm_bank *bank;

	(void)state;
	checkpoint_file_write(case_folder, "x.safetensors", tensors, 2, 1);
	assert_int_equal(ufm_bank_checkpoint(path_of("x.safetensors"), &config, &bank), UFM_OK);
	assert_int_equal(info_of(bank).geometries, 1);
	ufm_bank_close(bank);
	config.geometry = 2;
	assert_error(ufm_bank_checkpoint(path_of("x.safetensors"), &config, &bank), UFM_EINVAL,
	             "geometry is 2, expected at most 1");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, case_folder_make, case_folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_stacked_experts),
		CASE(test_fused_experts),
		CASE(test_single_experts),
		CASE(test_biases),
		CASE(test_kinds),
		CASE(test_kinds_of_a_range),
		CASE(test_an_older_caller),
		CASE(test_other_banks_are_of_one_kind),
		CASE(test_any_shard_opens_all),
		CASE(test_shards_are_whole),
		CASE(test_names_of_shards_lead_to_the_others),
		CASE(test_tensors_of_two_files),
		CASE(test_formats),
		CASE(test_layers_that_are_not_whole),
		CASE(test_single_experts_that_are_not_whole),
		CASE(test_types_and_biases),
		CASE(test_unknown_architectures),
		CASE(test_geometry_of_other_formats),
	};

	return cmocka_run_group_tests_name("gguf_bank", tests, NULL, NULL);
}
