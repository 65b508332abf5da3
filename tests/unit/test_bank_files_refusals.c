/* SPDX-License-Identifier: MIT */
/* A bank from the caller's extents: what is wrong with a configuration, an extent or a file is said, and
 * nothing else is refused. */
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

#include "support/assert_error.h"
#include "support/checkpoint_file.h"
#include "support/files_bank.h"
#include "support/storage.h"

static files_bank small(files_layout layout)
{
	files_bank b = {.layers = 2, .experts = 3, .layout = layout, .from = UFM_F32};

	UFM_STRUCT_INIT(&b.desc);
	assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_GATED, 24, 40, UFM_F32), UFM_OK);
	files_bank_make(&b, 5);
	return b;
}

static void check_opens(const files_bank *b, const ufm_bank_files_config *config)
{
	uint8_t *found = malloc(b->desc.expert_bytes), *expected = malloc(b->desc.expert_bytes);
	ufm_bank *bank;

	assert_int_equal(ufm_bank_files(config, &bank), UFM_OK);
	assert_int_equal(ufm_bank_read(bank, 0, 0, found), UFM_OK);
	files_bank_expect(b, 0, expected);
	assert_memory_equal(found, expected, b->desc.expert_bytes);
	ufm_bank_close(bank);
	free(found);
	free(expected);
}

static void refused(files_bank *b, const ufm_bank_files_config *config, ufm_status status,
                    const char *text)
{
	ufm_bank *bank = (ufm_bank *)b;

	assert_error(ufm_bank_files(config, &bank), status, text);
	assert_ptr_equal(bank, b);
}

static void test_wrong_configurations(void **state)
{
	files_bank b = small(FILES_SECOND_ROWS);
	ufm_bank_files_config good, bad;

	(void)state;
	files_bank_write(&b, case_folder);
	good = files_bank_config(&b);
#define REFUSED(field, value, text) \
	do { \
		bad = good; \
		bad.field = value; \
		refused(&b, &bad, UFM_EINVAL, text); \
	} while (0)
	REFUSED(struct_size, 0, "ufm_bank_files_config: struct_size is 0");
	REFUSED(layers, 1u << 31, "layers is 2147483648");
	REFUSED(experts, 0, "experts is 0");
	REFUSED(desc, NULL, "desc");
	ufm_expert_desc other = b.desc;
	other.d_model = 25;
	REFUSED(desc, &other, "part 0 (gate): shape is [40, 24], expected [40, 25]");
	other = b.desc;
	other.parts[1].dtype = (ufm_dtype)9;
	REFUSED(desc, &other, "part 1 (up): dtype is 9");
	REFUSED(paths, NULL, "paths is NULL, expected 2 paths");
	REFUSED(path_count, 0, "path_count is 0, expected 1 … 4096");
	REFUSED(path_count, 4097, "path_count is 4097, expected 1 … 4096");
	REFUSED(path_count, 1, "extent of layer 0 expert 0 down: file is 1, expected below 1");
	REFUSED(extents, NULL, "extents is NULL");
	REFUSED(extent_bytes, 0, "extent_bytes is 0, expected 32");
	REFUSED(extent_bytes, 40, "extent_bytes is 40, expected 32");
#undef REFUSED
	struct {
		ufm_bank_files_config known;
		uint64_t later;
	} newer = {good, 7};
	newer.known.struct_size = sizeof newer;
	refused(&b, &newer.known, UFM_EINVAL, "ufm_bank_files_config: byte");
	refused(&b, NULL, UFM_EINVAL, "config: NULL");
	bad = good;
	bad.layers = 0; /* the default: 1 */
	ufm_bank *bank;
	ufm_bank_info info = {.struct_size = sizeof info};
	assert_int_equal(ufm_bank_files(&bad, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, 1);
	ufm_bank_close(bank);
	files_bank_free(&b);
}

static void test_wrong_extents(void **state)
{
	const uint32_t numbers[] = {3, 17};
	files_bank b = small(FILES_SECOND_ROWS);
	ufm_bank_files_config config = files_bank_config(&b);
	ufm_extent *e = &b.extents[3 * 3 + 3 + 1]; /* layer 1 expert 1, up */
	const ufm_extent good = *e;

	(void)state;
	files_bank_write(&b, case_folder);
	config.layer_numbers = numbers;
#define REFUSED(field, value, status, text) \
	do { \
		*e = good; \
		e->field = value; \
		refused(&b, &config, status, text); \
	} while (0)
	REFUSED(file, 2, UFM_EINVAL, "extent of layer 17 expert 1 up: file is 2, expected below 2");
	REFUSED(dtype, (ufm_dtype)0, UFM_EINVAL,
	        "up: dtype is 0, expected UFM_F32, UFM_BF16 or UFM_F16");
	REFUSED(dtype, (ufm_dtype)4, UFM_EINVAL, "up: dtype is 4");
	REFUSED(row_stride, 0, UFM_EINVAL, "row_stride is 0 and col_stride is not");
	REFUSED(col_stride, 0, UFM_EINVAL, "col_stride is 0 and row_stride is not");
	REFUSED(offset_bytes, b.size_bytes, UFM_EFORMAT,
	        "part0.bin: layer 17 expert 1 up: ends at byte");
	REFUSED(offset_bytes, UINT64_MAX, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
	REFUSED(offset_bytes, UINT64_MAX - 39 * 48 * 4 - 24 * 4, UFM_EFORMAT, "up: ends at byte 1844");
	REFUSED(row_stride, UINT64_MAX, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
	REFUSED(row_stride, UINT64_MAX / 39, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
	REFUSED(row_stride, UINT64_MAX / 39 / 4 + 1, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
	REFUSED(row_stride, (uint64_t)1 << 62, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
	REFUSED(col_stride, UINT64_MAX, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
	REFUSED(col_stride, UINT64_MAX / 23 - 1, UFM_EFORMAT, "up: ends beyond 2^64 bytes");
#undef REFUSED
	files_bank_free(&b);
}

static files_bank stored(const char *name, files_layout layout)
{
	files_bank b = {.layers = 2, .experts = 2, .layout = layout, .from = UFM_F32};

	UFM_STRUCT_INIT(&b.desc);
	assert_int_equal(
		ufm_expert_desc_init(&b.desc, UFM_EXPERT_MLP, STORAGE_STEP, 2 * STORAGE_STEP, UFM_F32),
		UFM_OK);
	for (size_t i = 0; i < storage_count; i++) {
		if (strcmp(storages[i].name, name) == 0)
			storage_apply(&storages[i], &b.desc);
	}
	files_bank_make(&b, 5);
	return b;
}

static void refuse_extent(files_bank *b, const ufm_bank_files_config *config, uint32_t at,
                          ufm_extent bad, ufm_status status, const char *text)
{
	const ufm_extent good = b->extents[at];

	b->extents[at] = bad;
	refused(b, config, status, text);
	b->extents[at] = good;
}

/* Of layer 1 expert 1: up, its scales, down, its scales. */
static void test_wrong_extents_of_formats(void **state)
{
	const uint32_t numbers[] = {3, 17}, up = 3 * 4, scale = up + 1;
	files_bank b = stored("E2M1, E8M0 for 1 x 32", FILES_SECOND_ROWS);
	ufm_bank_files_config config = files_bank_config(&b);
	ufm_extent bad;

	(void)state;
	files_bank_write(&b, case_folder);
	config.layer_numbers = numbers;
	check_opens(&b, &config);
#define REFUSED(index, field, value, status, text) \
	do { \
		bad = b.extents[index]; \
		bad.field = value; \
		refuse_extent(&b, &config, index, bad, status, text); \
	} while (0)
	REFUSED(up, dtype, UFM_BF16, UFM_EINVAL,
	        "extent of layer 17 expert 1 up: dtype is 2, expected 0: the part is E2M1");
	REFUSED(scale, dtype, UFM_F32, UFM_EINVAL,
	        "layer 17 expert 1 up scale: dtype is 1, expected 0: the part is E8M0");
	REFUSED(up, col_stride, 2, UFM_EINVAL, "up: col_stride is 2, expected 0 or 1: a row of E2M1");
	REFUSED(up, row_stride, 0, UFM_EINVAL, "row_stride is 0 and col_stride is not");
	REFUSED(up, offset_bytes, b.size_bytes, UFM_EFORMAT,
	        "part0.bin: layer 17 expert 1 up: ends at byte");
	REFUSED(scale, row_stride, UINT64_MAX / 100, UFM_EFORMAT, "up scale: ends beyond 2^64 bytes");
#undef REFUSED
	files_bank_free(&b);
}

/* Nothing is rounded to F16 on the way. */
static void test_f16_comes_from_f16(void **state)
{
	const ufm_dtype others[] = {(ufm_dtype)0, UFM_F32, UFM_BF16};
	files_bank b = stored("F16", FILES_ROWS), scaled;
	ufm_bank_files_config config = files_bank_config(&b);

	(void)state;
	files_bank_write(&b, case_folder);
	check_opens(&b, &config);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		ufm_extent bad = b.extents[1];
		bad.dtype = others[i];
		refuse_extent(&b, &config, 1, bad, UFM_EINVAL,
		              i ? "layer 0 expert 0 down: dtype is" : "down: dtype is 0, expected UFM_F32");
	}
	files_bank_free(&b);
	scaled = stored("U4, f16 for 1 x 128 and zero points", FILES_ROWS);
	files_bank_write(&scaled, case_folder);
	config = files_bank_config(&scaled);
	check_opens(&scaled, &config);
	ufm_extent bad = scaled.extents[1];
	bad.dtype = UFM_BF16;
	refuse_extent(&scaled, &config, 1, bad, UFM_EINVAL,
	              "up scale: dtype is 2, expected UFM_F16 as in the expert");
	files_bank_free(&scaled);
}

/* The same of parts with a format: a row is its bytes, and none behind them. */
static void test_formats_too_short_by_a_byte(void **state)
{
	(void)state;
	for (int layout = 0; layout <= FILES_SECOND_ROWS; layout++) {
		files_bank b = stored("Q6_K", (files_layout)layout);
		ufm_bank_files_config config = files_bank_config(&b);
		const ufm_extent *last =
			&b.extents[7]; /* down, in a file of its own: 256 rows of 420 bytes */
		uint64_t stride = last->row_stride ? last->row_stride : 420;
		off_t end = (off_t)(last->offset_bytes + 255 * stride + 420);

		files_bank_write(&b, case_folder);
		assert_int_equal(truncate(b.paths[1], end), 0);
		check_opens(&b, &config);
		assert_int_equal(truncate(b.paths[1], end - 1), 0);
		refused(&b, &config, UFM_EFORMAT, "part1.bin: layer 1 expert 1 down: ends at byte");
		files_bank_free(&b);
	}
}

/* The last byte of the last element of each layout counts, and none behind it. */
static void test_files_too_short_by_a_byte(void **state)
{
	(void)state;
	for (int layout = 0; layout < FILES_LAYOUTS; layout++) {
		for (int from = UFM_F32; from <= UFM_F16; from++) {
			files_bank b = {
				.layers = 1, .experts = 1, .layout = (files_layout)layout, .from = (ufm_dtype)from};
			uint64_t span, end;

			UFM_STRUCT_INIT(&b.desc);
			assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_GATED, 3, 5, UFM_F32),
			                 UFM_OK);
			files_bank_make(&b, 5);
			files_bank_write(&b, case_folder);
			ufm_bank_files_config config = files_bank_config(&b);
			const ufm_extent *up = &b.extents[1]; /* of [5, 3] */
			span = up->row_stride ? 4 * up->row_stride + 2 * up->col_stride + 1 : 15;
			end = up->offset_bytes + span * ufm_dtype_bytes(b.from);
			assert_int_equal(truncate(b.paths[0], (off_t)end), 0);
			check_opens(&b, &config);
			assert_int_equal(truncate(b.paths[0], (off_t)end - 1), 0);
			refused(&b, &config, UFM_EFORMAT, "part0.bin: layer 0 expert 0 up: ends at byte");
			files_bank_free(&b);
		}
	}
}

static void test_files_that_are_none(void **state)
{
	files_bank b = small(FILES_ROWS);
	ufm_bank_files_config config = files_bank_config(&b);
	char path[96];

	(void)state;
	files_bank_write(&b, case_folder);
	b.path_list[1] = NULL;
	refused(&b, &config, UFM_EINVAL, "paths[1] is empty");
	b.path_list[1] = "";
	refused(&b, &config, UFM_EINVAL, "paths[1] is empty");
	snprintf(path, sizeof path, "%s/missing.bin", case_folder);
	b.path_list[1] = path;
	refused(&b, &config, UFM_EFILE, "missing.bin: cannot be opened: No such file or directory");
	b.path_list[1] = case_folder;
	refused(&b, &config, UFM_EFILE, "is not a regular file");
	b.path_list[1] = "/dev/zero";
	refused(&b, &config, UFM_EFILE, "/dev/zero: is not a regular file");
	assert_int_equal(mkfifo(path, 0600), 0);
	b.path_list[1] = path;
	refused(&b, &config, UFM_EFILE, "missing.bin: is not a regular file");
	files_bank_free(&b);
}

/* A file that shrinks, or goes, after the bank was opened. */
static void test_reads_fail_by_name(void **state)
{
	const uint32_t numbers[] = {3, 17};
	uint8_t *block, *expected;

	(void)state;
	for (int layout = 0; layout < FILES_LAYOUTS; layout++) {
		files_bank b = small((files_layout)layout);
		ufm_bank_files_config config = files_bank_config(&b);
		const ufm_extent *gate = &b.extents[4 * 3]; /* layer 1 expert 1 */
		ufm_bank *bank;
		char line[160];

		files_bank_write(&b, case_folder);
		config.layer_numbers = numbers;
		assert_int_equal(ufm_bank_files(&config, &bank), UFM_OK);
		block = malloc(b.desc.expert_bytes);
		expected = malloc(b.desc.expert_bytes);
		assert_int_equal(truncate(b.paths[0], (off_t)gate->offset_bytes + 40), 0);
		snprintf(line, sizeof line, "layer 17 expert 1: %s at byte %llu: the file ends here",
		         b.paths[0], (unsigned long long)gate->offset_bytes + 40);
		assert_error(ufm_bank_read(bank, 1, 1, block), UFM_EEXPERT_IO, line);
		assert_int_equal(ufm_bank_read(bank, 0, 2, block), UFM_OK);
		files_bank_expect(&b, 2, expected);
		assert_memory_equal(block, expected, b.desc.expert_bytes);
		assert_int_equal(unlink(b.paths[0]), 0);
		assert_error(ufm_bank_read(bank, 0, 2, block), UFM_EFILE, b.paths[0]);
		ufm_bank_close(bank);
		free(block);
		free(expected);
		files_bank_free(&b);
	}
}

int main(void)
{
#define IN_A_FOLDER(test) \
	cmocka_unit_test_setup_teardown(test, case_folder_make, case_folder_remove)
	const struct CMUnitTest tests[] = {
		IN_A_FOLDER(test_wrong_configurations),        IN_A_FOLDER(test_wrong_extents),
		IN_A_FOLDER(test_wrong_extents_of_formats),    IN_A_FOLDER(test_f16_comes_from_f16),
		IN_A_FOLDER(test_formats_too_short_by_a_byte), IN_A_FOLDER(test_files_too_short_by_a_byte),
		IN_A_FOLDER(test_files_that_are_none),         IN_A_FOLDER(test_reads_fail_by_name),
	};

	return cmocka_run_group_tests_name("bank files refusals", tests, NULL, NULL);
}
