/* SPDX-License-Identifier: MIT */
/* Bytes of an expert into host memory: every source, saving and reading back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/bf16.h"
#include "base/rng.h"
#include "store/store.h"
#include "support/arithmetic.h"
#include "support/assert_error.h"

#define SEED 11
#define POISON 0xa5

static ufm_bank *open_synthetic(ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                                uint32_t d_hidden)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;

	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.layers = 2;
	config.experts = 3;
	config.seed = SEED;
	assert_int_equal(ufm_expert_desc_init(&desc, kind, d_model, d_hidden, dtype), UFM_OK);
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	return bank;
}

static uint8_t *new_block(const ufm_bank *bank)
{
	uint8_t *block = malloc(bank_desc(bank)->expert_bytes);

	assert_non_null(block);
	memset(block, POISON, bank_desc(bank)->expert_bytes);
	return block;
}

/* ------------------------------------------------------------------ synthetic */

static float element(const ufm_part *part, const uint8_t *block, uint64_t i)
{
	float wide;
	uint16_t narrow;

	if (part->dtype == UFM_BF16) {
		memcpy(&narrow, block + part->offset_bytes + 2 * i, sizeof narrow);
		return bf16_to_f32(narrow);
	}
	memcpy(&wide, block + part->offset_bytes + 4 * i, sizeof wide);
	return wide;
}

static void check_part(const ufm_part *part, const uint8_t *block, uint32_t key)
{
	uint64_t count = (uint64_t)part->rows * part->cols;
	uint64_t stream = rng_mix(rng_mix(SEED, key), (uint64_t)part->role);
	bool bias = part->role == UFM_ROLE_UP_BIAS || part->role == UFM_ROLE_DOWN_BIAS;
	float scale = bias ? 0.02f : (float)sqrt(3.0 / part->cols);
	double square = 0;

	for (uint64_t i = 0; i < count; i++) {
		float value = element(part, block, i);
		float expected = scale * rng_at(stream, (uint32_t)i);

		if (part->dtype == UFM_BF16)
			expected = bf16_to_f32(bf16_from_f32(expected));
		assert_true(value == expected);
		square += (double)value * value;
	}
	/* variance 1/fan_in; the estimate from `count` draws is off by about sqrt(0.8/count) */
	if (!bias)
		assert_true(fabs(square / (double)count * part->cols - 1.0) <
		            5 * sqrt(0.8 / (double)count));
}

static void check_gaps(const ufm_expert_desc *desc, const uint8_t *block)
{
	for (uint64_t at = 0; at < desc->expert_bytes; at++) {
		bool inside = false;

		for (uint32_t i = 0; i < desc->part_count; i++) {
			const ufm_part *part = &desc->parts[i];
			uint64_t size = (uint64_t)part->rows * part->cols * ufm_dtype_bytes(part->dtype);

			inside |= at >= part->offset_bytes && at < part->offset_bytes + size;
		}
		if (!inside)
			assert_int_equal(block[at], 0);
	}
}

static void check_synthetic(ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                            uint32_t d_hidden)
{
	ufm_bank *bank = open_synthetic(kind, dtype, d_model, d_hidden);
	const ufm_expert_desc *desc = bank_desc(bank);
	uint8_t *block = new_block(bank);
	store *s;

	assert_int_equal(store_open(bank, NULL, &s), UFM_OK);
	for (uint32_t key = 0; key < bank_key_count(bank); key++) {
		memset(block, POISON, desc->expert_bytes);
		assert_int_equal(store_read(s, key, block), UFM_OK);
		for (uint32_t i = 0; i < desc->part_count; i++)
			check_part(&desc->parts[i], block, key);
		check_gaps(desc, block);
	}
	store_close(s);
	free(block);
	ufm_bank_close(bank);
}

static void test_synthetic_weights(void **state)
{
	(void)state;
	check_synthetic(UFM_EXPERT_MLP_BIAS, UFM_F32, 33, 17);
	check_synthetic(UFM_EXPERT_MLP_BIAS, UFM_BF16, 33, 17);
	check_synthetic(UFM_EXPERT_GATED, UFM_F32, 64, 96);
	check_synthetic(UFM_EXPERT_GATED, UFM_BF16, 7, 9);
	/* a matrix with one column is no bias */
	check_synthetic(UFM_EXPERT_MLP, UFM_F32, 1, 40);
}

/* Parts in any order, with a gap in front: a description that somebody else made. */
static void test_synthetic_gaps_in_any_layout(void **state)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;
	uint8_t *block;
	ufm_part kept;

	(void)state;
	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.experts = 1;
	config.seed = SEED;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_OK);
	desc.parts[0].offset_bytes += 128;
	desc.parts[1].offset_bytes += 320;
	desc.expert_bytes += 320;
	kept = desc.parts[0];
	desc.parts[0] = desc.parts[1];
	desc.parts[1] = kept;
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	block = new_block(bank);
	assert_int_equal(ufm_bank_read(bank, 0, 0, block), UFM_OK);
	check_gaps(&desc, block);
	check_part(&desc.parts[0], block, 0);
	check_part(&desc.parts[1], block, 0);
	free(block);
	ufm_bank_close(bank);
}

/* ------------------------------------------------------------------ memory and files */

static void test_memory(void **state)
{
	ufm_bank *source = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7), *bank;
	ufm_bank_memory_config config;
	uint8_t *blocks[6], *block = new_block(source);
	uint64_t size = bank_desc(source)->expert_bytes;

	(void)state;
	for (uint32_t key = 0; key < 6; key++) {
		blocks[key] = new_block(source);
		assert_int_equal(ufm_bank_read(source, key / 3, key % 3, blocks[key]), UFM_OK);
	}
	UFM_STRUCT_INIT(&config);
	config.layers = 2;
	config.experts = 3;
	config.desc = bank_desc(source);
	config.blocks = (const void *const *)blocks;
	assert_int_equal(ufm_bank_memory(&config, &bank), UFM_OK);
	for (uint32_t key = 0; key < 6; key++) {
		memset(block, POISON, size);
		assert_int_equal(ufm_bank_read(bank, key / 3, key % 3, block), UFM_OK);
		assert_memory_equal(block, blocks[key], size);
	}
	assert_error(ufm_bank_read(bank, 2, 0, block), UFM_EINVAL, "layer 2 expert 0");
	assert_error(ufm_bank_read(bank, 0, 3, block), UFM_EINVAL, "below 2 and 3");
	ufm_bank_close(bank);
	for (int key = 0; key < 6; key++)
		free(blocks[key]);
	free(block);
	ufm_bank_close(source);
}

static void make_folder(char folder[64])
{
	strcpy(folder, "/tmp/ufm_test_store_XXXXXX");
	assert_non_null(mkdtemp(folder));
}

/* Closes the bank. */
static void save_and_compare(ufm_bank *bank)
{
	ufm_bank *back;
	uint64_t size = bank_desc(bank)->expert_bytes;
	uint8_t *expected = new_block(bank), *found = new_block(bank);
	char folder[64], path[80];

	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	assert_int_equal(ufm_bank_open(path, &back), UFM_OK);
	assert_memory_equal(bank_desc(back), bank_desc(bank), sizeof(ufm_expert_desc));
	for (uint32_t key = 0; key < 6; key++) {
		memset(found, POISON, size);
		assert_int_equal(ufm_bank_read(bank, key / 3, key % 3, expected), UFM_OK);
		assert_int_equal(ufm_bank_read(back, key / 3, key % 3, found), UFM_OK);
		assert_memory_equal(found, expected, size);
	}
	/* over its own source, and again */
	assert_int_equal(ufm_bank_save(back, path), UFM_OK);
	assert_int_equal(ufm_bank_read(back, 1, 2, found), UFM_OK);
	assert_memory_equal(found, expected, size);
	ufm_bank_close(back);
	ufm_bank_close(bank);
	free(expected);
	free(found);
	assert_int_equal(unlink(path), 0);
	/* fails while anything else is left, such as the temporary file */
	assert_int_equal(rmdir(folder), 0);
}

static void test_save_and_open(void **state)
{
	(void)state;
	const arithmetic *a = arithmetic_named("clamped, alpha, up + 1");
	ufm_bank_synthetic_config config;
	ufm_bank *bank;

	save_and_compare(open_synthetic(UFM_EXPERT_MLP_BIAS, UFM_F32, 33, 17));
	save_and_compare(open_synthetic(UFM_EXPERT_GATED, UFM_BF16, 33, 17));
	UFM_STRUCT_INIT(&config);
	config.layers = 2;
	config.experts = 3;
	const ufm_expert_desc desc = arithmetic_desc(a, true, UFM_BF16, 33, 17);
	config.desc = &desc;
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	save_and_compare(bank);
}

static void test_save_leaves_nothing_on_failure(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	char folder[64], path[80], inner[96];

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/none/bank.ufm", folder);
	assert_error(ufm_bank_save(bank, path), UFM_EFILE, path);
	/* a folder stands where the file should go: found only by the rename */
	snprintf(path, sizeof path, "%s/taken", folder);
	snprintf(inner, sizeof inner, "%s/x", path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_error(ufm_bank_save(bank, path), UFM_EFILE, path);
	assert_int_equal(rmdir(inner), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_error(ufm_bank_save(bank, ""), UFM_EINVAL, "path is empty");
	assert_error(ufm_bank_save(bank, NULL), UFM_EINVAL, "path is empty");
	ufm_bank_close(bank);
}

/* A device is not replaced by a file, nor is a link; a pipe without a reader is not waited for. */
static void test_save_onto_what_is_no_file(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7), *back;
	char folder[64], path[80], link[80];
	struct stat found;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	snprintf(link, sizeof link, "%s/link", folder);
	assert_int_equal(symlink("bank.ufm", link), 0);
	assert_error(ufm_bank_save(bank, link), UFM_EFILE, "is a link to what cannot be found");
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	assert_int_equal(truncate(path, 1), 0);
	assert_int_equal(ufm_bank_save(bank, link), UFM_OK);
	assert_int_equal(lstat(link, &found), 0);
	assert_true(S_ISLNK(found.st_mode));
	assert_int_equal(ufm_bank_open(path, &back), UFM_OK);
	ufm_bank_close(back);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("/dev/null", link), 0);
	assert_error(ufm_bank_save(bank, link), UFM_EFILE, "is not a regular file");
	assert_int_equal(stat("/dev/null", &found), 0);
	assert_true(S_ISCHR(found.st_mode));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(mkfifo(link, 0600), 0);
	assert_error(ufm_bank_save(bank, link), UFM_EFILE, "is not a regular file");
	assert_int_equal(unlink(link), 0);
	assert_error(ufm_bank_save(bank, folder), UFM_EFILE, "is not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	ufm_bank_close(bank);
}

typedef struct saver {
	pthread_t thread;
	ufm_bank *bank;
	const char *path;
	ufm_status status;
} saver;

static void *save_repeatedly(void *arg)
{
	saver *s = arg;

	for (int i = 0; i < 20 && !s->status; i++)
		s->status = ufm_bank_save(s->bank, s->path);
	return NULL;
}

static uint64_t hash_of_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint64_t hash = 1469598103934665603u;
	int c;

	assert_non_null(file);
	while ((c = getc(file)) != EOF)
		hash = (hash ^ (uint64_t)c) * 1099511628211u;
	fclose(file);
	return hash;
}

/* Whenever the path is opened it holds one bank or the other, whole. */
static void test_two_save_to_one_path(void **state)
{
	saver savers[2] = {{.bank = NULL}};
	char folder[64], path[80];
	uint64_t whole[2], found;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	for (int i = 0; i < 2; i++) {
		ufm_expert_desc desc = {.struct_size = sizeof desc};
		ufm_bank_synthetic_config config = {
			.struct_size = sizeof config, .experts = 16, .desc = &desc, .seed = (uint64_t)i + 1};
		assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 64, 64, UFM_F32), 0);
		savers[i].path = path;
		assert_int_equal(ufm_bank_synthetic(&config, &savers[i].bank), UFM_OK);
		assert_int_equal(ufm_bank_save(savers[i].bank, path), UFM_OK);
		whole[i] = hash_of_file(path);
	}
	assert_true(whole[0] != whole[1]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&savers[i].thread, NULL, save_repeatedly, &savers[i]), 0);
	for (int i = 0; i < 40; i++) {
		found = hash_of_file(path);
		assert_true(found == whole[0] || found == whole[1]);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(savers[i].thread, NULL);
		assert_int_equal(savers[i].status, UFM_OK);
		ufm_bank_close(savers[i].bank);
	}
	found = hash_of_file(path);
	assert_true(found == whole[0] || found == whole[1]);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* What another writer of the name has left is neither used nor removed. */
static void test_a_temporary_name_that_is_taken(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	char folder[64], path[80], taken[112], mark[5] = "";
	int fd;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	snprintf(taken, sizeof taken, "%s.%ld.0.tmp", path, (long)getpid());
	fd = open(taken, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, "mark", 4) == 4);
	close(fd);
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	fd = open(taken, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, mark, 4) == 4);
	close(fd);
	assert_string_equal(mark, "mark");
	assert_int_equal(unlink(taken), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	ufm_bank_close(bank);
}

static void test_full_disk(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	if (fd < 0) {
		ufm_bank_close(bank);
		print_message("no /dev/full on this machine\n");
		skip();
	}
	assert_error(store_write_packed(bank, fd, "full.ufm"), UFM_EFILE,
	             "full.ufm: cannot be written");
	close(fd);
	ufm_bank_close(bank);
}

/* The file shrinks under an open store: the expert that it hits is named, the others are fine. */
static void test_short_file(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7), *back;
	uint8_t *block = new_block(bank);
	char folder[64], path[80];
	store *s;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	assert_int_equal(ufm_bank_open(path, &back), UFM_OK);
	assert_int_equal(store_open(back, NULL, &s), UFM_OK);
	assert_int_equal(truncate(path, 4096 + 4 * 4096 + 100), 0);
	assert_int_equal(store_read(s, 3, block), UFM_OK);
	assert_error(store_read(s, 4, block), UFM_EEXPERT_IO, "layer 1 expert 1");
	assert_non_null(strstr(ufm_last_error(), "byte 20580"));
	store_close(s);
	assert_int_equal(unlink(path), 0);
	assert_error(store_open(back, NULL, &s), UFM_EFILE, path);
	ufm_bank_close(back);
	ufm_bank_close(bank);
	free(block);
	assert_int_equal(rmdir(folder), 0);
}

/* ------------------------------------------------------------------ threads and memory */

/* The store keeps the bank alive. */
static void test_reference(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	uint8_t *block = new_block(bank);
	store *s;

	(void)state;
	assert_int_equal(store_open(bank, NULL, &s), UFM_OK);
	ufm_bank_close(bank);
	assert_int_equal(store_read(s, 5, block), UFM_OK);
	store_close(s);
	free(block);
}

typedef struct reader {
	pthread_t thread;
	ufm_bank *bank;
	store *s;
	bool same;
} reader;

static void *read_all(void *argument)
{
	reader *r = argument;
	uint64_t size = bank_desc(r->bank)->expert_bytes;
	uint8_t *found = malloc(size), *expected = malloc(size);

	r->same = found && expected;
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t key = 0; key < 6 && r->same; key++)
			r->same = store_read(r->s, key, found) == UFM_OK &&
			          ufm_bank_read(r->bank, key / 3, key % 3, expected) == UFM_OK &&
			          memcmp(found, expected, size) == 0;
	}
	free(found);
	free(expected);
	return NULL;
}

static void test_threads_read_side_by_side(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_GATED, UFM_BF16, 33, 17), *file;
	char folder[64], path[80];
	reader readers[4];
	store *s;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	assert_int_equal(ufm_bank_open(path, &file), UFM_OK);
	assert_int_equal(store_open(file, NULL, &s), UFM_OK);
	for (int i = 0; i < 4; i++) {
		readers[i] = (reader){.bank = bank, .s = s};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_true(readers[i].same);
	}
	store_close(s);
	ufm_bank_close(file);
	ufm_bank_close(bank);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static bool refuse_after(void *ctx, size_t size_bytes)
{
	int *left = ctx;

	(void)size_bytes;
	return (*left)-- > 0;
}

static ufm_status make_save_open(const ufm_bank_synthetic_config *config, const char *path)
{
	ufm_bank *bank, *file;
	store *s;
	ufm_status status = ufm_bank_synthetic(config, &bank);

	if (status)
		return status;
	status = ufm_bank_save(bank, path);
	ufm_bank_close(bank);
	if (!status)
		status = ufm_bank_open(path, &file);
	if (status)
		return status;
	status = store_open(file, "delay:ns=0+fault:layer=0,expert=0", &s);
	ufm_bank_close(file);
	if (!status)
		store_close(s);
	return status;
}

static void test_every_allocation_may_fail(void **state)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_status status = UFM_ENOMEM;
	char folder[64], path[80];
	int granted = 0;

	(void)state;
	make_folder(folder);
	snprintf(path, sizeof path, "%s/bank.ufm", folder);
	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.experts = 2;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 5, 7, UFM_F32), UFM_OK);
	for (; status; granted++) {
		int left = granted;

		alloc_set_hook(refuse_after, &left);
		status = make_save_open(&config, path);
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || status == UFM_ENOMEM);
	}
	assert_true(granted > 8);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_synthetic_weights),
		cmocka_unit_test(test_synthetic_gaps_in_any_layout),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_save_and_open),
		cmocka_unit_test(test_save_leaves_nothing_on_failure),
		cmocka_unit_test(test_save_onto_what_is_no_file),
		cmocka_unit_test(test_two_save_to_one_path),
		cmocka_unit_test(test_a_temporary_name_that_is_taken),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_short_file),
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_threads_read_side_by_side),
		cmocka_unit_test(test_every_allocation_may_fail),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
