/* SPDX-License-Identifier: MIT */
/* A bank from the caller's extents: every layout and type gives the bytes that a plain loop gives, whoever
 * reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bank/bank.h"
#include "base/rng.h"
#include "pager/host.h"
#include "store/store.h"
#include "support/assert_error.h"
#include "support/checkpoint_file.h"
#include "support/files_bank.h"
#include "support/fixture.h"

#define POISON 0xa5

static ufm_bank *open_files(files_bank *b)
{
	ufm_bank_files_config config = files_bank_config(b);
	ufm_bank *bank = NULL;

	if (ufm_bank_files(&config, &bank))
		fail_msg("%s", ufm_last_error());
	return bank;
}

static void check_block(const files_bank *b, uint32_t key, const uint8_t *found)
{
	uint8_t *expected = malloc(b->desc.expert_bytes);

	assert_non_null(expected);
	files_bank_expect(b, key, expected);
	if (memcmp(found, expected, b->desc.expert_bytes) != 0)
		fail_msg("layout %d, from %d to %d, [%u, %u], key %u: other bytes", b->layout, b->from,
		         b->desc.parts[0].dtype, b->desc.d_hidden, b->desc.d_model, key);
	free(expected);
}

static void check_reads(const files_bank *b, const ufm_bank *bank)
{
	uint8_t *block = malloc(b->desc.expert_bytes);

	assert_non_null(block);
	for (uint32_t key = 0; key < b->layers * b->experts; key++) {
		memset(block, POISON, b->desc.expert_bytes);
		assert_int_equal(ufm_bank_read(bank, key / b->experts, key % b->experts, block), UFM_OK);
		check_block(b, key, block);
	}
	free(block);
}

static void check_saved(const files_bank *b, ufm_bank *bank)
{
	char path[96];
	ufm_bank *saved;

	snprintf(path, sizeof path, "%s/saved.ufm", case_folder);
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	assert_int_equal(ufm_bank_open(path, &saved), UFM_OK);
	check_reads(b, saved);
	ufm_bank_close(saved);
}

static void remember(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	uint64_t *seen = ctx;

	seen[0] = done_bytes;
	seen[1] = total_bytes;
}

static void check_host(const files_bank *b, ufm_bank *bank)
{
	uint64_t seen[2] = {0, 0};
	uint32_t keys = b->layers * b->experts;
	ufm_host_config config = {.struct_size = sizeof config,
	                          .fill_threads = 3,
	                          .progress = remember,
	                          .progress_ctx = seen};
	ufm_host *host;

	assert_int_equal(host_open_on(fixture_backend(), bank, &config, &host), UFM_OK);
	for (uint32_t key = 0; key < keys; key++)
		check_block(b, key, host_block(host, key));
	assert_int_equal(seen[1], keys * b->desc.block_bytes);
	assert_int_equal(seen[0], seen[1]);
	ufm_host_close(host);
}

static void check_all(files_bank *b, uint64_t seed)
{
	ufm_bank *bank;
	ufm_bank_info info = {.struct_size = sizeof info};

	files_bank_make(b, seed);
	files_bank_write(b, case_folder);
	bank = open_files(b);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, b->layers);
	assert_int_equal(info.experts, b->experts);
	assert_int_equal(info.bank_bytes, b->layers * b->experts * b->desc.expert_bytes);
	assert_memory_equal(info.desc, &b->desc, sizeof b->desc);
	check_reads(b, bank);
	check_saved(b, bank);
	check_host(b, bank);
	ufm_bank_close(bank);
	files_bank_free(b);
}

/* Now and then a dimension of 1, where every stride is that of a row or of nothing. */
static uint32_t dimension(rng *r)
{
	return rng_below(r, 4) ? 1 + rng_below(r, 40) : 1;
}

static void check_types(rng *r, files_layout layout)
{
	for (int from = UFM_F32; from <= UFM_F16; from++) {
		for (int to = UFM_F32; to <= UFM_BF16; to++) {
			files_bank b = {.layers = 1 + rng_below(r, 3),
			                .experts = 1 + rng_below(r, 3),
			                .layout = layout,
			                .from = (ufm_dtype)from,
			                .lead_bytes = rng_below(r, 100)};
			ufm_expert_kind kind = (ufm_expert_kind)(1 + rng_below(r, 3));

			UFM_STRUCT_INIT(&b.desc);
			assert_int_equal(
				ufm_expert_desc_init(&b.desc, kind, dimension(r), dimension(r), (ufm_dtype)to),
				UFM_OK);
			check_all(&b, rng_u64(r));
		}
	}
}

static void test_every_layout_and_type(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);
	rng r;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_seed(&r, seed);
	for (int round = 0; round < 3; round++) {
		for (int layout = 0; layout < FILES_LAYOUTS; layout++)
			check_types(&r, (files_layout)layout);
	}
}

/* Parts with a format come as their bytes, at any stride of rows; what is plain beside them is converted. */
static void test_every_storage(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);
	rng r;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_seed(&r, seed);
	for (size_t i = 0; i < storage_count; i++) {
		for (int layout = 0; layout <= FILES_SECOND_ROWS; layout++) {
			files_bank b = {.layers = 1 + rng_below(&r, 2),
			                .experts = 1 + rng_below(&r, 2),
			                .layout = (files_layout)layout,
			                .from = storages[i].scale_dtype == UFM_F16
			                            ? UFM_F16
			                            : (ufm_dtype)(1 + rng_below(&r, 3)),
			                .lead_bytes = rng_below(&r, 100)};

			b.desc = arithmetic_desc(&arithmetics[rng_below(&r, (uint32_t)arithmetic_count)], true,
			                         UFM_F32, STORAGE_STEP, 2 * STORAGE_STEP);
			storage_apply(&storages[i], &b.desc);
			check_all(&b, rng_u64(&r));
		}
	}
}

/* Matrices of more than one band, of pieces of a conversion, and of reads past the page cache. */
static void test_large_matrices(void **state)
{
	(void)state;
	for (int layout = 0; layout < FILES_LAYOUTS; layout++) {
		files_bank b = {.layers = 1,
		                .experts = 1,
		                .layout = (files_layout)layout,
		                .from = layout % 2 ? UFM_F32 : UFM_F16,
		                .lead_bytes = 4096 + 2 * (uint64_t)layout};

		UFM_STRUCT_INIT(&b.desc);
		assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_GATED, 1021, 1201,
		                                      layout == FILES_SECOND_COLS ? UFM_BF16 : UFM_F32),
		                 UFM_OK);
		check_all(&b, 7);
	}
}

/* Parts in another order than in the block, and gaps: a description that somebody else made. */
static void test_any_description(void **state)
{
	files_bank b = {.layers = 1, .experts = 2, .layout = FILES_TRANSPOSED, .from = UFM_F32};
	ufm_part kept;

	(void)state;
	UFM_STRUCT_INIT(&b.desc);
	assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_OK);
	b.desc.parts[0].offset_bytes += 128;
	b.desc.parts[1].offset_bytes += 320;
	b.desc.expert_bytes += 320;
	kept = b.desc.parts[0];
	b.desc.parts[0] = b.desc.parts[1];
	b.desc.parts[1] = kept;
	check_all(&b, 3);
}

static files_bank small(files_layout layout)
{
	files_bank b = {.layers = 2, .experts = 3, .layout = layout, .from = UFM_F32};

	UFM_STRUCT_INIT(&b.desc);
	assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_GATED, 24, 40, UFM_F32), UFM_OK);
	files_bank_make(&b, 5);
	return b;
}

/* ------------------------------------------------------------------ who reads */

typedef struct side_reader {
	pthread_t thread;
	const files_bank *b;
	store *s;
	uint32_t wrong;
} side_reader;

static void *read_all(void *arg)
{
	side_reader *r = arg;
	uint64_t size = r->b->desc.expert_bytes;
	uint8_t *found = malloc(size), *expected = malloc(size);

	for (uint32_t i = 0; i < 20 * r->b->layers * r->b->experts; i++) {
		uint32_t key = i % (r->b->layers * r->b->experts);

		files_bank_expect(r->b, key, expected);
		if (store_read(r->s, key, found) || memcmp(found, expected, size) != 0)
			r->wrong++;
	}
	free(found);
	free(expected);
	return NULL;
}

static void test_threads_side_by_side(void **state)
{
	files_bank b = small(FILES_SECOND_COLS);
	side_reader readers[8];
	ufm_bank *bank;
	store *s;

	(void)state;
	files_bank_write(&b, case_folder);
	bank = open_files(&b);
	assert_int_equal(store_open(bank, NULL, &s), UFM_OK);
	ufm_bank_close(bank); /* the store holds it */
	for (int i = 0; i < 8; i++) {
		readers[i] = (side_reader){.b = &b, .s = s};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), 0);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].wrong, 0);
	}
	store_close(s);
	files_bank_free(&b);
}

static uint64_t run_layers(ufm_bank *bank, ufm_dtype dtype)
{
	fixture_config config = {.layers = 2,
	                         .experts = 3,
	                         .d_model = 24,
	                         .d_hidden = 40,
	                         .kind = UFM_EXPERT_GATED,
	                         .dtype = dtype,
	                         .seed = 9,
	                         .slots_max = 4,
	                         .bank = bank};
	fixture f;
	uint64_t hash;

	if (fixture_open(&f, &config))
		fail_msg("%s", ufm_last_error());
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	hash = fixture_hash(&f);
	fixture_close(&f);
	return hash;
}

static ufm_bank *open_memory(const files_bank *b, uint8_t *const *blocks)
{
	ufm_bank_memory_config config = {.struct_size = sizeof config,
	                                 .layers = b->layers,
	                                 .experts = b->experts,
	                                 .desc = &b->desc,
	                                 .blocks = (const void *const *)blocks};
	ufm_bank *bank;

	assert_int_equal(ufm_bank_memory(&config, &bank), UFM_OK);
	return bank;
}

static void check_layers(files_layout layout, ufm_dtype dtype)
{
	files_bank b = {.layers = 2, .experts = 3, .layout = layout, .from = dtype};
	uint8_t *blocks[6];
	ufm_bank *synthetic, *memory, *bank;

	UFM_STRUCT_INIT(&b.desc);
	assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_GATED, 24, 40, dtype), UFM_OK);
	files_bank_make(&b, 5);
	ufm_bank_synthetic_config config = {
		.struct_size = sizeof config, .layers = 2, .experts = 3, .desc = &b.desc, .seed = 4};
	assert_int_equal(ufm_bank_synthetic(&config, &synthetic), UFM_OK);
	for (uint32_t key = 0; key < 6; key++) {
		blocks[key] = malloc(b.desc.expert_bytes);
		assert_int_equal(ufm_bank_read(synthetic, key / 3, key % 3, blocks[key]), UFM_OK);
		files_bank_put(&b, key, blocks[key]);
	}
	files_bank_write(&b, case_folder);
	bank = open_files(&b);
	memory = open_memory(&b, blocks);
	assert_true(run_layers(bank, dtype) == run_layers(memory, dtype));
	ufm_bank_close(bank);
	ufm_bank_close(memory);
	ufm_bank_close(synthetic);
	for (int key = 0; key < 6; key++)
		free(blocks[key]);
	files_bank_free(&b);
}

static void test_layers_as_from_memory(void **state)
{
	(void)state;
	check_layers(FILES_SECOND_ROWS, UFM_F32);
	check_layers(FILES_SECOND_COLS, UFM_F32);
	check_layers(FILES_TRANSPOSED, UFM_BF16);
}

static void test_numbers_and_filters(void **state)
{
	const uint32_t numbers[] = {3, 17};
	files_bank b = small(FILES_SLICES);
	ufm_bank_files_config config = files_bank_config(&b);
	const ufm_host_debug debug = {.struct_size = sizeof debug,
	                              .store_filter = "fault:layer=1,expert=2"};
	ufm_host_config filtered = {.struct_size = sizeof filtered, .debug = &debug};
	ufm_host *host;
	ufm_bank *bank;

	(void)state;
	files_bank_write(&b, case_folder);
	config.layer_numbers = numbers;
	assert_int_equal(ufm_bank_files(&config, &bank), UFM_OK);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 3);
	assert_int_equal(ufm_bank_layer_number(bank, 1), 17);
	assert_int_equal(ufm_bank_layer_number(bank, 2), 2);
	assert_null(bank_checkpoint(bank));
	assert_int_equal(bank_file_count(bank), FILES_COUNT);
	assert_string_equal(bank_file_path(bank, 1), b.paths[1]);
	assert_error(host_open_on(fixture_backend(), bank, &filtered, &host), UFM_EEXPERT_IO,
	             "layer 1 expert 2: read failed on request");
	ufm_bank_close(bank);
	bank = open_files(&b);
	assert_int_equal(ufm_bank_layer_number(bank, 1), 1);
	ufm_bank_close(bank);
	files_bank_free(&b);
}

/* Nothing of the caller's is looked at after the call. */
static void test_all_is_copied(void **state)
{
	files_bank b = small(FILES_SECOND_ROWS), kept;
	uint32_t numbers[] = {3, 17};
	ufm_bank_files_config config = files_bank_config(&b);
	ufm_bank *bank;

	(void)state;
	files_bank_write(&b, case_folder);
	kept = b;
	config.layer_numbers = numbers;
	assert_int_equal(ufm_bank_files(&config, &bank), UFM_OK);
	memset(b.extents, POISON, sizeof b.extents);
	memset(b.paths, POISON, sizeof b.paths);
	memset(b.path_list, POISON, sizeof b.path_list);
	memset(numbers, POISON, sizeof numbers);
	memset(&config, POISON, sizeof config);
	check_reads(&kept, bank);
	assert_int_equal(ufm_bank_layer_number(bank, 1), 17);
	ufm_bank_close(bank);
	files_bank_free(&kept);
}

int main(void)
{
#define IN_A_FOLDER(test) \
	cmocka_unit_test_setup_teardown(test, case_folder_make, case_folder_remove)
	const struct CMUnitTest tests[] = {
		IN_A_FOLDER(test_every_layout_and_type), IN_A_FOLDER(test_every_storage),
		IN_A_FOLDER(test_large_matrices),        IN_A_FOLDER(test_any_description),
		IN_A_FOLDER(test_threads_side_by_side),  IN_A_FOLDER(test_layers_as_from_memory),
		IN_A_FOLDER(test_numbers_and_filters),   IN_A_FOLDER(test_all_is_copied),
	};

	return cmocka_run_group_tests_name("bank files", tests, NULL, NULL);
}
