/* SPDX-License-Identifier: MIT */
/* Bringing values of four bits out of words along rows into rows: against a plain loop, for any geometry and order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "store/nibbles_int.h"
#include "support/assert_error.h"
#include "support/memory_source.h"

#define GUARD 64
#define POISON 0xa5

static uint64_t word_count(const bank_extent *e)
{
	return (uint64_t)(e->rows + 7) / 8 * e->cols;
}

static uint8_t plain_value(const bank_extent *e, const uint32_t *words, uint64_t row, uint64_t col)
{
	uint32_t word = words[row / 8 * e->row_stride + col * e->col_stride];
	uint32_t number = (e->nibble_order >> (row % 8 * 4)) & 15;

	return (uint8_t)((word + e->nibble_addend) >> (number * 4)) & 15;
}

static void check_values(const bank_extent *e, const uint32_t *words, const uint8_t *found)
{
	for (uint64_t row = 0; row < e->rows; row++) {
		for (uint64_t col = 0; col < e->cols; col++) {
			uint64_t at = row * e->cols + col;
			uint8_t value = found[e->nibbles_apart ? at : at / 2];

			if (!e->nibbles_apart)
				value = (uint8_t)(value >> (at % 2 * 4) & 15);
			if (value != plain_value(e, words, row, col))
				fail_msg("[%u, %u] at %llu, %llu: %u", e->rows, e->cols, (unsigned long long)row,
				         (unsigned long long)col, value);
		}
	}
}

/* Memory of exactly the sizes, so that the address sanitizer sees a step beyond them. */
static void check(rng *r, const bank_extent *e)
{
	uint64_t count = word_count(e);
	memory_source source = {.size_bytes = count * sizeof(uint32_t)};
	uint32_t *words = malloc(source.size_bytes);
	uint8_t *found = malloc(e->size_bytes + GUARD);

	assert_true(words && found);
	for (uint64_t i = 0; i < count; i++)
		words[i] = (uint32_t)rng_u64(r);
	source.bytes = words;
	memset(found, POISON, e->size_bytes + GUARD);
	assert_int_equal(nibbles_read(e, read_memory, &source, found), UFM_OK);
	assert_int_equal(source.read_bytes, source.size_bytes);
	check_values(e, words, found);
	for (int i = 0; i < GUARD; i++)
		assert_int_equal(found[e->size_bytes + (uint64_t)i], POISON);
	free(words);
	free(found);
}

static uint32_t random_order(rng *r)
{
	uint32_t order = 0, numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

	for (uint32_t i = 0; i < 8; i++) {
		uint32_t other = i + (uint32_t)rng_below(r, 8 - i), taken = numbers[other];

		numbers[other] = numbers[i];
		order |= taken << (4 * i);
	}
	return order;
}

static bank_extent extent_of(uint32_t rows, uint32_t cols, bool by_cols, bool apart)
{
	uint64_t words = (rows + 7) / 8, count = (uint64_t)rows * cols;

	return (bank_extent){.kind = EXTENT_NIBBLES,
	                     .rows = rows,
	                     .cols = cols,
	                     .row_stride = by_cols ? 1 : cols,
	                     .col_stride = by_cols ? words : 1,
	                     .nibbles_apart = apart,
	                     .size_bytes = apart ? count : count / 2};
}

static void test_any_geometry(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);
	rng r;

	(void)state;
	rng_seed(&r, seed);
	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 400; i++) {
		bool apart = rng_below(&r, 2), by_cols = rng_below(&r, 2);
		uint32_t rows = 1 + (uint32_t)rng_below(&r, 70), cols = 1 + (uint32_t)rng_below(&r, 90);
		/* One column is the same in both; two are the fewest that make bytes. */
		bank_extent e = extent_of(rows, apart ? cols : 2 * cols, by_cols || cols == 1, apart);

		e.nibble_order = random_order(&r);
		e.nibble_addend = rng_below(&r, 2) ? 0x11111111u : 0;
		check(&r, &e);
	}
}

/* Of several bands; lines longer than a band. */
static void test_large(void **state)
{
	static const uint32_t shapes[][2] = {{2048, 2050}, {8, 300000}, {1048576, 2}};
	rng r;

	(void)state;
	rng_seed(&r, 7);
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		for (int by_cols = 0; by_cols < 2; by_cols++) {
			bank_extent e = extent_of(shapes[i][0], shapes[i][1], by_cols, false);

			e.nibble_order = 0x73625140u;
			check(&r, &e);
		}
	}
}

static void test_first_failure_ends_it(void **state)
{
	bank_extent e = extent_of(2048, 2050, true, false);
	uint32_t *words = calloc(word_count(&e), sizeof *words);
	uint8_t *out = malloc(e.size_bytes);

	(void)state;
	assert_true(words && out);
	for (uint64_t fail_at = 1; fail_at <= 3; fail_at++) {
		memory_source source = {
			.bytes = words, .size_bytes = word_count(&e) * sizeof *words, .fail_at = fail_at};

		assert_error(nibbles_read(&e, read_memory, &source, out), UFM_EEXPERT_IO, "call");
		assert_int_equal(source.calls, fail_at);
	}
	free(words);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_geometry),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_first_failure_ends_it),
	};

	return cmocka_run_group_tests_name("nibbles", tests, NULL, NULL);
}
