/* SPDX-License-Identifier: MIT */
/* Synthetic experts in storage formats: what their elements are worth has a variance of 1/fan_in and is finite, and their
 * bytes are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank.h"
#include "base/hash.h"
#include "format/format.h"
#include "support/storage.h"

static const ufm_role matrices[] = {UFM_ROLE_UP, UFM_ROLE_GATE, UFM_ROLE_DOWN};

static ufm_bank *open_bank(const storage *s, uint32_t d_model, uint32_t d_hidden, uint64_t seed)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	const ufm_bank_synthetic_config config = {
		.struct_size = sizeof config, .experts = 2, .desc = &desc, .seed = seed};
	ufm_bank *bank;

	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, d_model, d_hidden, UFM_F32),
	                 UFM_OK);
	storage_apply(s, &desc);
	if (ufm_bank_synthetic(&config, &bank))
		fail_msg("%s: %s", s->name, ufm_last_error());
	return bank;
}

static uint8_t *read_expert(const ufm_bank *bank, uint32_t expert)
{
	uint8_t *block = aligned_alloc(4096, bank_desc(bank)->block_bytes);

	assert_non_null(block);
	memset(block, 0xa5, bank_desc(bank)->block_bytes);
	assert_int_equal(ufm_bank_read(bank, 0, expert, block), UFM_OK);
	return block;
}

/* Elements that share a scale go up and down together: their squares vary by less than half, elements alone by less
 * than twelve (E4M3, whose largest numbers are rare). */
static double error_allowed(const storage *s, const ufm_expert_desc *desc, ufm_role role,
                            double elements)
{
	ufm_role beside = (ufm_role)(UFM_ROLE_UP_SCALE + (role - UFM_ROLE_UP) / 2);
	const ufm_part *scale = ufm_expert_part(desc, beside);
	double groups = elements / STORAGE_STEP;

	if (scale)
		groups = (double)scale->rows * scale->cols;
	if (groups == 1 || s->dtype)
		groups = 1000; /* not varied */
	return 5 * sqrt(0.5 / groups + 12 / elements);
}

static void check_matrix(const storage *s, const ufm_expert_desc *desc, const uint8_t *block,
                         ufm_role role)
{
	const ufm_part *part = ufm_expert_part(desc, role);
	size_t count = (size_t)part->rows * part->cols;
	float *values = malloc(count * sizeof *values);
	double sum = 0.0, square = 0.0, n = (double)count;

	assert_non_null(values);
	assert_int_equal(ufm_expert_expand(desc, block, role, values), UFM_OK);
	for (size_t i = 0; i < count; i++) {
		assert_true(isfinite(values[i]));
		sum += (double)values[i];
		square += (double)values[i] * (double)values[i];
	}
	double variance = square / n * part->cols, mean = sum / n * sqrt(part->cols);
	if (fabs(variance - 1.0) > error_allowed(s, desc, role, n) || fabs(mean) > 0.2)
		fail_msg("%s, role %d: variance %g and mean %g, expected 1 ± %g and 0 ± 0.2", s->name,
		         (int)role, variance, mean, error_allowed(s, desc, role, n));
	free(values);
}

static void check_storage(const storage *s, uint32_t d_model, uint32_t d_hidden)
{
	ufm_bank *bank = open_bank(s, d_model, d_hidden, 3);
	uint8_t *block = read_expert(bank, 1);

	for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++)
		check_matrix(s, bank_desc(bank), block, matrices[i]);
	free(block);
	ufm_bank_close(bank);
}

static void test_variance(void **state)
{
	(void)state;
	for (size_t i = 0; i < storage_count; i++) {
		check_storage(&storages[i], 512, 1024);
		check_storage(&storages[i], 7168, 256);
	}
}

/* Where a block's scale is smallest beside its elements: a half below the normal ones. */
static void test_the_smallest_scales(void **state)
{
	const storage s = {.name = "Q6_K", .format = UFM_FORMAT_Q6_K};
	ufm_bank *bank = open_bank(&s, 1 << 18, STORAGE_STEP, 3);
	const ufm_expert_desc *desc = bank_desc(bank);
	uint8_t *block = read_expert(bank, 0);
	format_matrix m = format_matrix_of(desc, block, UFM_ROLE_UP);
	float *values = malloc(sizeof *values << 18);
	double square = 0.0;

	(void)state;
	assert_non_null(values);
	for (uint32_t row = 0; row < 4; row++) {
		format_expand(&m, row, 0, m.part->cols, values);
		for (size_t i = 0; i < m.part->cols; i++)
			square += (double)values[i] * (double)values[i];
	}
	assert_true(fabs(square / 4 - 1.0) < 0.03);
	free(values);
	free(block);
	ufm_bank_close(bank);
}

/* Both experts of a small bank. They are the same on every machine, and stay what they are. */
static void test_known_bytes(void **state)
{
	static const struct {
		const char *name;
		uint64_t sum;
	} known[] = {
		{"F16", 0x6d3e0376ad8ffd34},
		{"Q8_0", 0xc46c17b0bb2c1052},
		{"Q4_0", 0x29cf87958ed7342c},
		{"Q5_0", 0x24885bfa66355884},
		{"Q4_K", 0x71def6ee46bf93cc},
		{"Q5_K", 0x33e599109428ee35},
		{"Q6_K", 0x1aa41a6d2a5e8f03},
		{"IQ4_NL", 0x97e9467230bcbfbe},
		{"IQ4_XS", 0x17ec82528db95b57},
		{"MXFP4", 0x5f2b20a980bc9522},
		{"E4M3, f32 for 128 x 128", 0x2c7e9dcc2bd2c33a},
		{"E4M3, bf16 for 100 x 48", 0x93912c25fc42e15c},
		{"E4M3, bf16 a row", 0xc637e143ae53e574},
		{"E4M3, one f32", 0x23c62056a2320bd9},
		{"E4M3, E8M0 for 1 x 32", 0xe367775b1f904920},
		{"E4M3, f16 for 3 x 48 and a factor", 0xf7af396e461bcc02},
		{"E2M1, E8M0 for 1 x 32", 0x456a04da00467f78},
		{"E2M1, E4M3 for 1 x 16 and a factor", 0xdb150ef6eab3b40a},
		{"U4, f16 for 1 x 128 and zero points", 0x4939282920658df2},
		{"U4, bf16 for 1 x 32", 0xa26d207e9d9eaa98},
		{"U4, f32 for 2 x 80 and a factor", 0x6d366adff6e318ae},
		{"U4, f32 for 2 x 64, zero points and a factor", 0x31d76c553931c246},
	};

	(void)state;
	assert_int_equal(sizeof known / sizeof known[0], storage_count);
	for (size_t i = 0; i < storage_count; i++) {
		ufm_bank *bank = open_bank(&storages[i], STORAGE_STEP, STORAGE_STEP, 7);
		uint64_t sum = HASH_SEED;

		for (uint32_t expert = 0; expert < 2; expert++) {
			uint8_t *block = read_expert(bank, expert);
			sum = hash_bytes(sum, block, bank_desc(bank)->expert_bytes);
			free(block);
		}
		ufm_bank_close(bank);
		assert_string_equal(known[i].name, storages[i].name);
		if (sum != known[i].sum)
			fail_msg("%s: 0x%016llx, expected 0x%016llx", known[i].name, (unsigned long long)sum,
			         (unsigned long long)known[i].sum);
	}
}

/* Parts that a seed makes, and zeros between them; another seed makes others. */
static void test_gaps_and_seeds(void **state)
{
	(void)state;
	for (size_t i = 0; i < storage_count; i++) {
		ufm_bank *bank = open_bank(&storages[i], STORAGE_STEP, STORAGE_STEP, 7);
		ufm_bank *other = open_bank(&storages[i], STORAGE_STEP, STORAGE_STEP, 8);
		const ufm_expert_desc *desc = bank_desc(bank);
		uint8_t *block = read_expert(bank, 0), *changed = read_expert(other, 0);

		for (uint32_t p = 0; p + 1 < desc->part_count; p++) {
			const ufm_part *part = &desc->parts[p];
			uint64_t begin = part->offset_bytes, end = desc->parts[p + 1].offset_bytes;
			bool factor = part->role >= UFM_ROLE_UP_FACTOR;
			bool alone = part->rows == 1 && part->cols == 1;

			if (!factor && !alone)
				assert_memory_not_equal(block + begin, changed + begin, end - begin);
			for (uint64_t at = begin + (alone ? 4 : end - begin); at < end; at++)
				assert_int_equal(block[at], 0);
		}
		free(block);
		free(changed);
		ufm_bank_close(bank);
		ufm_bank_close(other);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_variance),
		cmocka_unit_test(test_the_smallest_scales),
		cmocka_unit_test(test_known_bytes),
		cmocka_unit_test(test_gaps_and_seeds),
	};

	return cmocka_run_group_tests_name("synthetic", tests, NULL, NULL);
}
