/* SPDX-License-Identifier: MIT */
/* Descriptions, and the kinds of bank that need no file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "bank/bank.h"
#include "support/assert_error.h"

/* ------------------------------------------------------------------ descriptions */

static void expect_roles(const ufm_expert_desc *desc, const ufm_role *roles, uint32_t count)
{
	assert_int_equal(desc->part_count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(desc->parts[i].role, roles[i]);
		assert_int_equal(desc->parts[i].offset_bytes % 64, 0);
		assert_ptr_equal(ufm_expert_part(desc, roles[i]), &desc->parts[i]);
	}
}

static void test_standard_layouts(void **state)
{
	const ufm_role mlp[] = {UFM_ROLE_UP, UFM_ROLE_DOWN};
	const ufm_role bias[] = {UFM_ROLE_UP, UFM_ROLE_UP_BIAS, UFM_ROLE_DOWN, UFM_ROLE_DOWN_BIAS};
	const ufm_role gated[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	(void)state;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_OK);
	expect_roles(&desc, mlp, 2);
	assert_int_equal(desc.activation, UFM_ACT_GELU);
	/* 35 floats are 140 bytes; the second matrix begins at 192 */
	assert_int_equal(desc.parts[1].offset_bytes, 192);
	assert_int_equal(desc.expert_bytes, 332);
	assert_int_equal(desc.block_bytes, 4096);
	assert_null(ufm_expert_part(&desc, UFM_ROLE_GATE));

	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP_BIAS, 2048, 8192, UFM_F32), UFM_OK);
	expect_roles(&desc, bias, 4);
	assert_int_equal(desc.expert_bytes, (2u * 2048 * 8192 + 2048 + 8192) * 4);
	assert_int_equal(desc.block_bytes % 4096, 0);
	assert_int_equal(ufm_expert_part(&desc, UFM_ROLE_UP_BIAS)->cols, 1);
	assert_int_equal(ufm_expert_part(&desc, UFM_ROLE_DOWN)->rows, 2048);

	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, 1, 1, UFM_BF16), UFM_OK);
	expect_roles(&desc, gated, 3);
	assert_int_equal(desc.activation, UFM_ACT_SILU);
	assert_int_equal(desc.expert_bytes, 130);

	/* the largest there is: 2^41 elements, no overflow */
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 1u << 20, 1u << 20, UFM_F32),
	                 UFM_OK);
	assert_true(desc.expert_bytes == (uint64_t)1 << 43);
	assert_int_equal(bank_check_desc(&desc), UFM_OK);
}

static void test_wrong_dimensions_are_named(void **state)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	(void)state;
	memset(&desc, 0xee, sizeof desc);
	desc.struct_size = sizeof desc;
	assert_error(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 0, 8, UFM_F32), UFM_EINVAL,
	             "d_model is 0");
	assert_error(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 8, 0, UFM_F32), UFM_EINVAL,
	             "d_hidden is 0");
	assert_error(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, (1u << 20) + 1, 8, UFM_F32),
	             UFM_EINVAL, "d_model is 1048577");
	assert_error(ufm_expert_desc_init_format(&desc, UFM_EXPERT_MLP, 8, 8, UFM_FORMAT_Q8_0),
	             UFM_EINVAL, "8 columns, expected a multiple of the 32 of a Q8_0 block");
	assert_error(ufm_expert_desc_init_format(&desc, UFM_EXPERT_MLP, 8, 8, UFM_FORMAT_E8M0),
	             UFM_EINVAL, "format is E8M0, expected one that such a part may have");
	assert_error(ufm_expert_desc_init_format(&desc, UFM_EXPERT_MLP, 8, 8, (ufm_format)99),
	             UFM_EUNSUPPORTED, "format is 99");
	assert_error(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 8, 8, (ufm_dtype)9), UFM_EINVAL,
	             "dtype is 9");
	assert_error(ufm_expert_desc_init(&desc, (ufm_expert_kind)0, 8, 8, UFM_F32), UFM_EINVAL,
	             "kind is 0");
	assert_int_equal(desc.d_model, 0xeeeeeeee);
}

#define AT(field) offsetof(ufm_expert_desc, field), sizeof((ufm_expert_desc *)0)->field

/* Whatever the format, with all that it has beside it. */
static void test_standard_layouts_in_formats(void **state)
{
	const struct {
		ufm_format format;
		uint32_t parts;
		uint64_t bytes; /* of gate, up and down of 512 x 256 */
	} cases[] = {
		{UFM_FORMAT_Q8_0, 3, 3 * 512 * 256 / 32 * 34},
		{UFM_FORMAT_Q4_K, 3, 3 * 512 * 256 / 256 * 144},
		{UFM_FORMAT_E4M3, 6, 3 * 512 * 256 + 2 * 64 + 8 * 4},
		{UFM_FORMAT_E2M1, 6, 3 * (512 * 256 / 2 + 512 * 256 / 32)},
		{UFM_FORMAT_U4, 6, 3 * (512 * 256 / 2 + 512 * 256 / 128 * 2)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ufm_expert_desc desc = {.struct_size = sizeof desc};
		assert_int_equal(
			ufm_expert_desc_init_format(&desc, UFM_EXPERT_GATED, 256, 512, cases[i].format),
			UFM_OK);
		assert_int_equal(bank_check_desc(&desc), UFM_OK);
		assert_int_equal(desc.part_count, cases[i].parts);
		assert_int_equal(desc.expert_bytes, cases[i].bytes);
	}
}

/* One field of a good description is overwritten, and one rule broken. */
static void test_broken_descriptions_are_refused(void **state)
{
	const struct {
		size_t at, bytes;
		uint64_t value;
		const char *text;
	} cases[] = {
		{AT(struct_size), 8, "struct_size is 8"},
		{AT(d_model), 0, "d_model is 0"},
		{AT(activation), 0, "activation is 0, expected 1 … 4"},
		{AT(activation), 5, "activation is 5"},
		{AT(activation), UINT64_MAX, "activation is 4294967295"},
		{AT(part_count), 0, "part_count is 0"},
		{AT(part_count), UFM_PARTS_MAX + 1, "part_count is 17"},
		{AT(part_count), 2, "up and a down"},
		{AT(parts[0].role), 77, "role is 77"},
		{AT(parts[2].role), UFM_ROLE_UP, "second up"},
		{AT(parts[1].dtype), UFM_BF16, "part 1: dtype is 2, expected 1 as in part 0"},
		{AT(parts[1].dtype), UFM_F16, "part 1 (up bias): dtype is 3, expected UFM_F32 or UFM_BF16"},
		{AT(parts[0].dtype), 9, "part 0 (up): dtype is 9, expected UFM_F32, UFM_BF16 or UFM_F16"},
		{AT(parts[0].format), UFM_FORMAT_Q8_0, "dtype is 1, expected 0 beside a format"},
		{AT(parts[0].group_cols), 16, "groups of 0 x 16, expected 0"},
		{AT(parts[0].rows), 8, "shape is [8, 5]"},
		{AT(parts[1].cols), 2, "shape is [7, 2]"},
		{AT(parts[1].offset_bytes), 196, "multiple of 64"},
		{AT(parts[1].offset_bytes), 0, "overlap"},
		{AT(parts[0].offset_bytes), UINT64_MAX - 63, "leaves the payload"},
		{AT(parts[1].size_bytes), 27, "size_bytes is 27, expected 0 or 28"},
		{AT(parts[3].reserved[0]), 1, "part 3 (down bias): reserved[0] is 1"},
		{AT(parts[0].reserved[2]), 9, "part 0 (up): reserved[2] is 9"},
		{AT(expert_bytes), 64, "leaves the payload"},
		{AT(expert_bytes), 4096, "expert_bytes is 4096"},
		{AT(expert_bytes), UINT64_MAX, "2^63"},
		{AT(block_bytes), 8192, "block_bytes is 8192"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ufm_expert_desc desc = {.struct_size = sizeof desc};

		assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP_BIAS, 5, 7, UFM_F32), UFM_OK);
		assert_int_equal(bank_check_desc(&desc), UFM_OK);
		memcpy((char *)&desc + cases[i].at, &cases[i].value, cases[i].bytes);
		assert_error(bank_check_desc(&desc), UFM_EINVAL, cases[i].text);
	}
}

#define FLOAT_AT(field) offsetof(ufm_expert_desc, field)

/* Of a good description, gated or not, one parameter is overwritten. */
static void test_broken_parameters_are_refused(void **state)
{
	const struct {
		ufm_expert_kind kind;
		ufm_activation activation;
		size_t at;
		float value;
		const char *text; /* NULL: it is right */
	} cases[] = {
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(act_alpha), 1.702f, NULL},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(act_alpha), NAN, "act_alpha is"},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(act_alpha), -1.0f, "act_alpha is -1, expected a"},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(act_alpha), INFINITY, "act_alpha is inf"},
		{UFM_EXPERT_GATED, UFM_ACT_GELU, FLOAT_AT(act_alpha), 2.0f,
	     "act_alpha is 2, expected 0: activation"},
		{UFM_EXPERT_GATED, UFM_ACT_RELU2, FLOAT_AT(act_alpha), 2.0f,
	     "act_alpha is 2, expected 0: activation"},
		{UFM_EXPERT_MLP, UFM_ACT_SILU, FLOAT_AT(act_alpha), 2.0f,
	     "act_alpha is 2, expected 0 without"},
		{UFM_EXPERT_GATED, UFM_ACT_GELU, FLOAT_AT(gate_limit), 7.0f, NULL},
		{UFM_EXPERT_GATED, UFM_ACT_RELU2, FLOAT_AT(gate_limit), 7.0f, NULL},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(gate_limit), -7.0f, "gate_limit is -7"},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(gate_limit), NAN, "gate_limit is"},
		{UFM_EXPERT_MLP_BIAS, UFM_ACT_GELU, FLOAT_AT(gate_limit), 7.0f,
	     "gate_limit is 7, expected 0"},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(activated_limit), 16.0f, NULL},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(activated_limit), -1e-30f, "activated_limit is"},
		{UFM_EXPERT_MLP, UFM_ACT_RELU2, FLOAT_AT(activated_limit), 1.0f, "activated_limit is 1"},
		{UFM_EXPERT_GATED, UFM_ACT_GELU_TANH, FLOAT_AT(up_limit), 7.0f, NULL},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(up_limit), -INFINITY, "up_limit is -inf"},
		{UFM_EXPERT_MLP, UFM_ACT_SILU, FLOAT_AT(up_limit), 1.0f, "up_limit is 1, expected 0"},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(up_offset), -1.0f, NULL},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(up_offset), NAN, "up_offset is"},
		{UFM_EXPERT_GATED, UFM_ACT_SILU, FLOAT_AT(up_offset), INFINITY, "up_offset is inf"},
		{UFM_EXPERT_MLP, UFM_ACT_SILU, FLOAT_AT(up_offset), -1.0f, "up_offset is -1, expected 0"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ufm_expert_desc desc = {.struct_size = sizeof desc};

		assert_int_equal(ufm_expert_desc_init(&desc, cases[i].kind, 5, 7, UFM_F32), UFM_OK);
		desc.activation = cases[i].activation;
		assert_int_equal(bank_check_desc(&desc), UFM_OK);
		memcpy((char *)&desc + cases[i].at, &cases[i].value, sizeof cases[i].value);
		if (cases[i].text)
			assert_error(bank_check_desc(&desc), UFM_EINVAL, cases[i].text);
		else
			assert_int_equal(bank_check_desc(&desc), UFM_OK);
	}
}

/* What an older or a newer caller describes is read as far as either knows it. */
static void test_descriptions_of_other_sizes(void **state)
{
	struct {
		ufm_expert_desc known;
		uint64_t later;
	} newer = {.known = {.struct_size = sizeof newer}, .later = 7};
	ufm_expert_desc desc, read;

	(void)state;
	assert_int_equal(ufm_expert_desc_init(&newer.known, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_OK);
	assert_int_equal(newer.known.struct_size, sizeof newer);
	assert_int_equal(newer.later, 7);
	assert_error(bank_read_desc(&newer.known, &read), UFM_EINVAL, "ufm_expert_desc: byte");
	newer.later = 0;
	assert_int_equal(bank_read_desc(&newer.known, &read), UFM_OK);
	assert_int_equal(read.struct_size, sizeof read);

	memset(&desc, 0xee, sizeof desc);
	desc.struct_size = offsetof(ufm_expert_desc, block_bytes); /* an older caller */
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_OK);
	assert_int_equal(desc.d_hidden, 7);
	assert_true(desc.block_bytes == 0xeeeeeeeeeeeeeeee);
	assert_error(bank_read_desc(&desc, &read), UFM_EINVAL, "block_bytes is 0");
	desc.struct_size = 0;
	assert_error(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_EINVAL,
	             "ufm_expert_desc: struct_size is 0");
}

static void test_a_parts_storage(void **state)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	(void)state;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP_BIAS, 5, 7, UFM_F32), UFM_OK);
	desc.parts[1].size_bytes = 28; /* as 0 says */
	assert_int_equal(bank_check_desc(&desc), UFM_OK);
	desc.parts[2].format = 99;
	assert_error(bank_check_desc(&desc), UFM_EUNSUPPORTED,
	             "part 2 (down): format is 99, which is not known here");
}

static void test_gate_bias_needs_a_gate(void **state)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	(void)state;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP_BIAS, 5, 7, UFM_F32), UFM_OK);
	desc.parts[1].role = UFM_ROLE_GATE_BIAS;
	assert_error(bank_check_desc(&desc), UFM_EINVAL, "gate bias needs");
}

/* ------------------------------------------------------------------ banks */

static ufm_bank_synthetic_config small_config(void)
{
	static ufm_expert_desc desc; /* the configurations point to it */
	ufm_bank_synthetic_config config;

	UFM_STRUCT_INIT(&desc);
	UFM_STRUCT_INIT(&config);
	config.layers = 2;
	config.experts = 3;
	config.desc = &desc;
	config.seed = 7;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP_BIAS, 33, 17, UFM_F32), UFM_OK);
	return config;
}

static void test_synthetic(void **state)
{
	ufm_bank_synthetic_config config = small_config();
	bank_extent a[BANK_EXTENTS_MAX], b[BANK_EXTENTS_MAX];
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank *bank;

	(void)state;
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, 2);
	assert_int_equal(info.experts, 3);
	assert_int_equal(info.bank_bytes, 6 * config.desc->expert_bytes);
	assert_memory_equal(info.desc, config.desc, sizeof *info.desc);
	assert_ptr_not_equal(info.desc, config.desc);
	assert_int_equal(bank_key_count(bank), 6);
	assert_int_equal(bank_file_count(bank), 0);
	assert_int_equal(bank_extents(bank, 0, a), 1);
	assert_int_equal(bank_extents(bank, 5, b), 1);
	assert_int_equal(a[0].kind, EXTENT_SYNTHETIC);
	assert_int_equal(a[0].size_bytes, config.desc->expert_bytes);
	assert_true(a[0].seed != b[0].seed);

	/* the first close gives back one reference, the second the bank */
	assert_ptr_equal(bank_ref(bank), bank);
	ufm_bank_close(bank);
	assert_int_equal(bank_desc(bank)->d_model, 33);
	ufm_bank_close(bank);
	ufm_bank_close(NULL);
}

/* An older and a newer caller's struct is written as far as it goes. */
static void test_infos_of_other_sizes(void **state)
{
	ufm_bank_synthetic_config config = small_config();
	struct {
		ufm_bank_info known;
		uint64_t later;
	} newer = {.known = {.struct_size = sizeof newer}, .later = 7};
	ufm_bank_info older = {.struct_size = offsetof(ufm_bank_info, bank_bytes), .bank_bytes = 7};
	ufm_bank *bank;

	(void)state;
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	assert_int_equal(ufm_bank_get_info(bank, &newer.known), UFM_OK);
	assert_int_equal(newer.known.experts, 3);
	assert_int_equal(newer.known.struct_size, sizeof newer);
	assert_int_equal(newer.later, 7);
	assert_int_equal(ufm_bank_get_info(bank, &older), UFM_OK);
	assert_int_equal(older.experts, 3);
	assert_int_equal(older.bank_bytes, 7);
	older.struct_size = SIZE_MAX;
	assert_error(ufm_bank_get_info(bank, &older), UFM_EINVAL, "ufm_bank_info: struct_size");
	ufm_bank_close(bank);
}

static void test_layers_default_to_one(void **state)
{
	ufm_bank_synthetic_config config = small_config();
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank *bank;

	(void)state;
	config.layers = 0;
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, 1);
	ufm_bank_close(bank);
}

static void test_counts_are_bounded(void **state)
{
	ufm_bank_synthetic_config config = small_config();
	ufm_expert_desc large = {.struct_size = sizeof large};
	ufm_bank *bank = NULL;

	(void)state;
	config.experts = 0;
	assert_error(ufm_bank_synthetic(&config, &bank), UFM_EINVAL, "experts is 0");
	config.experts = (1u << 16) + 1;
	assert_error(ufm_bank_synthetic(&config, &bank), UFM_EINVAL, "experts is 65537");
	config.experts = 1u << 16;
	config.layers = 257;
	assert_error(ufm_bank_synthetic(&config, &bank), UFM_EINVAL, "layers is 257");
	config.layers = 256;
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	ufm_bank_close(bank);
	bank = NULL;
	/* 2^24 blocks of 8 TiB */
	config.desc = &large;
	assert_int_equal(ufm_expert_desc_init(&large, UFM_EXPERT_MLP, 1u << 20, 1u << 20, UFM_F32),
	                 UFM_OK);
	assert_error(ufm_bank_synthetic(&config, &bank), UFM_EINVAL, "2^63");
	assert_null(bank);
	config.struct_size = 0;
	assert_error(ufm_bank_synthetic(&config, &bank), UFM_EINVAL, "ufm_bank_synthetic_config");
	assert_error(ufm_bank_synthetic(NULL, &bank), UFM_EINVAL, "config: NULL");
}

static void test_memory(void **state)
{
	static const char bytes[4096];
	const void *blocks[] = {bytes, bytes + 1, NULL};
	bank_extent extents[BANK_EXTENTS_MAX];
	ufm_bank_memory_config config;
	ufm_bank *bank = NULL;

	(void)state;
	UFM_STRUCT_INIT(&config);
	config.experts = 3;
	config.desc = small_config().desc;
	assert_error(ufm_bank_memory(&config, &bank), UFM_EINVAL, "blocks is NULL");
	config.blocks = blocks;
	assert_error(ufm_bank_memory(&config, &bank), UFM_EINVAL, "blocks[2] is NULL");
	assert_null(bank);
	config.experts = 2;
	assert_int_equal(ufm_bank_memory(&config, &bank), UFM_OK);
	assert_int_equal(bank_extents(bank, 1, extents), 1);
	assert_int_equal(extents[0].kind, EXTENT_MEMORY);
	assert_ptr_equal(extents[0].memory, bytes + 1);
	ufm_bank_close(bank);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard_layouts),
		cmocka_unit_test(test_wrong_dimensions_are_named),
		cmocka_unit_test(test_standard_layouts_in_formats),
		cmocka_unit_test(test_broken_descriptions_are_refused),
		cmocka_unit_test(test_broken_parameters_are_refused),
		cmocka_unit_test(test_a_parts_storage),
		cmocka_unit_test(test_gate_bias_needs_a_gate),
		cmocka_unit_test(test_descriptions_of_other_sizes),
		cmocka_unit_test(test_infos_of_other_sizes),
		cmocka_unit_test(test_synthetic),
		cmocka_unit_test(test_layers_default_to_one),
		cmocka_unit_test(test_counts_are_bounded),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests_name("bank", tests, NULL, NULL);
}
