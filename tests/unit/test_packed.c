/* SPDX-License-Identifier: MIT */
/* The packed format: its header, and opening a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bank/bank.h"
#include "support/arithmetic.h"
#include "support/assert_error.h"
#include "support/packed_first.h"
#include "support/storage.h"

static bank_shape small_info(void)
{
	bank_shape info = {.layers = 2, .experts = 3, .desc = {.struct_size = sizeof info.desc}};

	assert_int_equal(ufm_expert_desc_init(&info.desc, UFM_EXPERT_MLP_BIAS, 33, 17, UFM_F32),
	                 UFM_OK);
	info.bank_bytes = 6 * info.desc.expert_bytes;
	return info;
}

static uint64_t file_bytes_of(const bank_shape *info)
{
	return BANK_PACKED_HEADER_BYTES +
	       (uint64_t)info->layers * info->experts * info->desc.block_bytes;
}

static void test_header_comes_back(void **state)
{
	const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	uint8_t header[BANK_PACKED_HEADER_BYTES];

	(void)state;
	for (int i = 0; i < 3; i++) {
		bank_shape info = small_info(), back;

		memset(&back, 0xff, sizeof back);
		assert_int_equal(ufm_expert_desc_init(&info.desc, kinds[i], 65, 3, UFM_BF16), UFM_OK);
		bank_packed_header(&info, header);
		assert_int_equal(bank_packed_parse(header, sizeof header, file_bytes_of(&info), &back),
		                 UFM_OK);
		assert_int_equal(back.layers, info.layers);
		assert_int_equal(back.experts, info.experts);
		assert_int_equal(back.bank_bytes, 6 * info.desc.expert_bytes);
		assert_memory_equal(&back.desc, &info.desc, sizeof info.desc);
	}
}

/* All activations, and every parameter and bias that an expert can have. */
static void test_arithmetic_comes_back(void **state)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];

	(void)state;
	for (size_t a = 0; a < arithmetic_count; a++) {
		bank_shape info = small_info(), back;

		info.desc = arithmetic_desc(&arithmetics[a], true, UFM_BF16, 65, 3);
		bank_packed_header(&info, header);
		assert_int_equal(bank_packed_parse(header, sizeof header, file_bytes_of(&info), &back),
		                 UFM_OK);
		assert_memory_equal(&back.desc, &info.desc, sizeof info.desc);
	}
}

/* All formats, with what they need beside them. */
static void test_storages_come_back(void **state)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];

	(void)state;
	for (size_t i = 0; i < storage_count; i++) {
		bank_shape info = small_info(), back;

		info.desc = arithmetic_desc(arithmetic_named("clamped, alpha, up + 1"), true, UFM_F32,
		                            STORAGE_STEP, STORAGE_STEP);
		storage_apply(&storages[i], &info.desc);
		assert_int_equal(bank_check_desc(&info.desc), UFM_OK);
		bank_packed_header(&info, header);
		assert_int_equal(bank_packed_parse(header, sizeof header, file_bytes_of(&info), &back),
		                 UFM_OK);
		assert_memory_equal(&back.desc, &info.desc, sizeof info.desc);
	}
}

static void test_first_version_comes_back(void **state)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];

	(void)state;
	for (size_t a = 0; a < arithmetic_count; a++) {
		bank_shape info = small_info(), back;

		info.desc = arithmetic_desc(&arithmetics[a], true, UFM_BF16, 65, 3);
		packed_first(&info, header);
		assert_int_equal(bank_packed_parse(header, sizeof header, file_bytes_of(&info), &back),
		                 UFM_OK);
		assert_memory_equal(&back.desc, &info.desc, sizeof info.desc);
	}
}

static void test_places_of_formats(void **state)
{
	const uint32_t values[10] = {UFM_ROLE_UP,     0, 512, 256, 0, 0,
	                             UFM_FORMAT_E2M1, 1, 16,  0}; /* 0, 0: the offset */
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	bank_shape info = small_info();
	const storage s = {.format = UFM_FORMAT_E2M1,
	                   .scale_format = UFM_FORMAT_E4M3,
	                   .group_rows = 1,
	                   .group_cols = 16};

	(void)state;
	UFM_STRUCT_INIT(&info.desc);
	assert_int_equal(ufm_expert_desc_init(&info.desc, UFM_EXPERT_MLP, 256, 512, UFM_F32), UFM_OK);
	storage_apply(&s, &info.desc);
	bank_packed_header(&info, header);
	assert_int_equal(header[8], 2);
	assert_memory_equal(header + 64, values, sizeof values);
}

static void test_places_of_parameters(void **state)
{
	const float values[5] = {1.702f, 7.0f, 6.0f, 5.0f, 1.0f};
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	bank_shape info = small_info();

	(void)state;
	bank_packed_header(&info, header);
	for (size_t i = 704; i < 4088; i++)
		assert_int_equal(header[i], 0);
	UFM_STRUCT_INIT(&info.desc);
	assert_int_equal(ufm_expert_desc_init(&info.desc, UFM_EXPERT_GATED, 33, 17, UFM_F32), UFM_OK);
	info.desc.act_alpha = values[0];
	info.desc.gate_limit = values[1];
	info.desc.activated_limit = values[2];
	info.desc.up_limit = values[3];
	info.desc.up_offset = values[4];
	bank_packed_header(&info, header);
	assert_memory_equal(header + 704, values, sizeof values);
}

/* Whatever one byte is changed to, the header is refused. */
static void test_every_byte_counts(void **state)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	bank_shape info = small_info(), back;

	(void)state;
	bank_packed_header(&info, header);
	for (size_t i = 0; i < sizeof header; i++) {
		header[i] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(bank_packed_parse(header, sizeof header, file_bytes_of(&info), &back),
		                 UFM_EFORMAT);
		header[i] ^= (uint8_t)(1u << (i % 8));
	}
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

typedef struct broken {
	size_t at;
	uint32_t value;
	const char *text;
} broken;

/* With a checksum that fits: the rules behind it. */
static void refuse(const broken *b, const bank_shape *info, const uint8_t *header)
{
	uint8_t changed[BANK_PACKED_HEADER_BYTES];
	bank_shape back;

	memcpy(changed, header, sizeof changed);
	put_u32(changed + b->at, b->value);
	packed_sum(changed);
	assert_error(bank_packed_parse(changed, sizeof changed, file_bytes_of(info), &back),
	             UFM_EFORMAT, b->text);
}

static void test_rules_are_named(void **state)
{
	const broken cases[] = {
		{0, 0, "not a packed bank"},
		{8, 0, "version is 0, expected 1 … 2"},
		{8, 3, "version is 3"},
		{12, 8192, "payload offset"},
		{16, 0, "layers is 0"},
		{16, 1u << 24, "layers is"},
		{20, 0, "experts is 0"},
		{20, 1u << 20, "experts is"},
		{24, 0, "d_model is 0"},
		{24, 34, "shape"},
		{28, UINT32_MAX, "d_hidden is"},
		{32, 5, "activation is 5"},
		{36, 17, "part_count is 17, expected 1 … 16"},
		{36, 3, "expert_bytes"},
		{44, 1, "expert_bytes"},
		{52, 1, "block_bytes"},
		{56, 4097, "payload offset"},
		{64, 99, "role is 99"},
		{68, 0, "dtype"},
		{80, 1, "multiple of 64"},
		{88, 1, "part 0 (up): dtype is 1, expected 0 beside a format"},
		{88, 99, "part 0 (up): format is 99, which is not known here"},
		{92, 1, "part 0 (up): groups of 1 x 0, expected 0"},
		{96, 32, "part 0 (up): groups of 0 x 32, expected 0"},
		{100, 5, "unused header byte 100 is 5"},
		{64 + 4 * 40, 1, "unused header byte 224"},
		{700, 1, "unused header byte 700"},
		{704, 0x3f800000, "act_alpha is 1, expected 0 without a gate"},
		{708, 0xbf800000, "gate_limit is -1"},
		{712, 0x7fc00000, "activated_limit is"},
		{716, 0x7f800000, "up_limit is inf"},
		{720, 0x3f800000, "up_offset is 1"},
		{724, 1, "unused header byte 724"},
		{4080, 7, "unused header byte 4080"},
	};
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	bank_shape info = small_info();

	(void)state;
	bank_packed_header(&info, header);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		refuse(&cases[i], &info, header);
}

/* And of the first version, where they differ. */
static void test_rules_of_the_first_version(void **state)
{
	const broken cases[] = {
		{36, 9, "part_count is 9, expected 1 … 8"},
		{68, 3, "part 0: dtype is 3, expected 1 or 2 in version 1"},
		{68, 0, "part 0: dtype is 0"},
		{64, 7, "part 0 (up scale): the matrix needs none"},
		{64 + 4 * 24, 1, "unused header byte 160"},
		{252, 1, "unused header byte 252"},
		{256, 0x3f800000, "act_alpha is 1, expected 0 without a gate"},
		{272, 0x3f800000, "up_offset is 1"},
		{276, 1, "unused header byte 276"},
		{704, 1, "unused header byte 704"},
	};
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	bank_shape info = small_info();

	(void)state;
	packed_first(&info, header);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		refuse(&cases[i], &info, header);
}

static void test_sizes_must_agree(void **state)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	bank_shape info = small_info(), back;
	uint64_t right = file_bytes_of(&info);

	(void)state;
	bank_packed_header(&info, header);
	assert_error(bank_packed_parse(header, sizeof header, right - 1, &back), UFM_EFORMAT,
	             "expected 53248 for 6 experts");
	assert_error(bank_packed_parse(header, sizeof header, right + 1, &back), UFM_EFORMAT, "holds");
	assert_error(bank_packed_parse(header, sizeof header - 1, right, &back), UFM_EFORMAT,
	             "header of 4096");
	assert_error(bank_packed_parse(header, 0, 0, &back), UFM_EFORMAT, "holds 0 bytes");
}

static void make_folder(char folder[64])
{
	strcpy(folder, "/tmp/ufm_test_bank_XXXXXX");
	assert_non_null(mkdtemp(folder));
}

static void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void test_open(void **state)
{
	char folder[64], path[80];
	uint8_t *content;
	bank_shape info = small_info(), back;
	bank_extent extents[BANK_EXTENTS_MAX];
	size_t size = file_bytes_of(&info);
	ufm_bank *bank;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	content = calloc(1, size);
	assert_non_null(content);
	packed_first(&info, content);
	write_file(path, content, size);
	assert_int_equal(ufm_bank_open(path, &bank), UFM_OK);
	assert_memory_equal(bank_desc(bank), &info.desc, sizeof info.desc);
	ufm_bank_close(bank);

	bank_packed_header(&info, content);
	write_file(path, content, size);
	assert_int_equal(ufm_bank_open(path, &bank), UFM_OK);
	back = *bank_get_shape(bank);
	assert_int_equal(back.bank_bytes, info.bank_bytes);
	assert_int_equal(bank_file_count(bank), 1);
	assert_string_equal(bank_file_path(bank, 0), path);
	assert_int_equal(bank_extents(bank, 4, extents), 1);
	assert_int_equal(extents[0].kind, EXTENT_FILE);
	assert_int_equal(extents[0].file_offset_bytes, 4096 + 4 * info.desc.block_bytes);
	ufm_bank_close(bank);

	write_file(path, content, size - 1);
	assert_error(ufm_bank_open(path, &bank), UFM_EFORMAT, path);
	write_file(path, content, 100);
	assert_error(ufm_bank_open(path, &bank), UFM_EFORMAT, "holds 100 bytes");
	free(content);
	assert_int_equal(unlink(path), 0);
	assert_error(ufm_bank_open(path, &bank), UFM_EFILE, path);
	assert_error(ufm_bank_open(folder, &bank), UFM_EFILE, "holds 0 .safetensors files");
	assert_error(ufm_bank_open(NULL, &bank), UFM_EINVAL, "path");
	/* a pipe that nobody writes to must not hang */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_error(ufm_bank_open(path, &bank), UFM_EFILE, "not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_comes_back),
		cmocka_unit_test(test_arithmetic_comes_back),
		cmocka_unit_test(test_storages_come_back),
		cmocka_unit_test(test_first_version_comes_back),
		cmocka_unit_test(test_places_of_formats),
		cmocka_unit_test(test_places_of_parameters),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_rules_are_named),
		cmocka_unit_test(test_rules_of_the_first_version),
		cmocka_unit_test(test_sizes_must_agree),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
