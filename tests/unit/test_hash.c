/* SPDX-License-Identifier: MIT */
/* The output hash: what it must tell apart, and that addresses do not matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void assert_all_different(uint64_t *hashes, size_t count)
{
	qsort(hashes, count, sizeof hashes[0], compare_u64);
	for (size_t i = 1; i < count; i++)
		assert_true(hashes[i] != hashes[i - 1]);
}

static void test_every_bit_matters(void **state)
{
	enum { BYTES = 67 }; /* eight words and a tail of three */
	unsigned char data[BYTES] = {0};
	uint64_t hashes[BYTES * 8 + 1];

	(void)state;
	hashes[BYTES * 8] = hash_bytes(HASH_SEED, data, BYTES);
	for (unsigned bit = 0; bit < BYTES * 8; bit++) {
		data[bit / 8] = (unsigned char)(1u << bit % 8);
		hashes[bit] = hash_bytes(HASH_SEED, data, BYTES);
		data[bit / 8] = 0;
	}
	assert_all_different(hashes, BYTES * 8 + 1);
}

static void test_lengths_of_zeros_differ(void **state)
{
	unsigned char data[200] = {0};
	uint64_t hashes[201];

	(void)state;
	for (size_t length = 0; length <= 200; length++)
		hashes[length] = hash_bytes(HASH_SEED, data, length);
	assert_all_different(hashes, 201);
}

static void test_order_of_words_matters(void **state)
{
	const uint64_t forward[] = {1, 2, 3}, backward[] = {3, 2, 1};

	(void)state;
	assert_true(hash_bytes(HASH_SEED, forward, sizeof forward) !=
	            hash_bytes(HASH_SEED, backward, sizeof backward));
}

static void test_continues_and_depends_on_what_came_before(void **state)
{
	(void)state;
	uint64_t one = hash_bytes(HASH_SEED, "abc", 3);
	assert_true(hash_bytes(one, "def", 3) == hash_bytes(hash_bytes(HASH_SEED, "abc", 3), "def", 3));
	assert_true(hash_bytes(one, "def", 3) != hash_bytes(HASH_SEED, "def", 3));
	assert_true(hash_bytes(one, "", 0) != one);
}

static void test_address_does_not_matter(void **state)
{
	unsigned char room[64 + 16];
	uint64_t expected = 0;

	(void)state;
	for (size_t shift = 0; shift < 16; shift++) {
		for (size_t i = 0; i < 61; i++)
			room[shift + i] = (unsigned char)(i * 37);
		uint64_t found = hash_bytes(HASH_SEED, room + shift, 61);
		if (shift == 0)
			expected = found;
		assert_true(found == expected);
	}
}

/* One changed bit changes about half of the result's. */
static void test_avalanche(void **state)
{
	unsigned char data[256];
	uint64_t changed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)i;
	uint64_t before = hash_bytes(HASH_SEED, data, sizeof data);
	for (size_t bit = 0; bit < sizeof data * 8; bit++) {
		data[bit / 8] ^= (unsigned char)(1u << bit % 8);
		uint64_t flipped = before ^ hash_bytes(HASH_SEED, data, sizeof data);
		changed += (uint64_t)__builtin_popcountll(flipped);
		data[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	double mean = (double)changed / (double)(sizeof data * 8);
	assert_true(mean > 30 && mean < 34);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bit_matters),
		cmocka_unit_test(test_lengths_of_zeros_differ),
		cmocka_unit_test(test_order_of_words_matters),
		cmocka_unit_test(test_continues_and_depends_on_what_came_before),
		cmocka_unit_test(test_address_does_not_matter),
		cmocka_unit_test(test_avalanche),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
