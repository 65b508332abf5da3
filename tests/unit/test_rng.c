/* SPDX-License-Identifier: MIT */
/* Random numbers: published and independently computed values, distributions, fills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/rng.h"

#define SEED 7u

/* The first outputs of splitmix64 for this seed. */
static void test_seeding_is_splitmix64(void **state)
{
	rng r;

	(void)state;
	rng_seed(&r, 1234567);
	assert_true(r.s[0] == 6457827717110365317u);
	assert_true(r.s[1] == 3203168211198807973u);
	assert_true(r.s[2] == 9817491932198370423u);
	assert_true(r.s[3] == 4593380528125082431u);
}

/* The first outputs of xoshiro256** from the state 1, 2, 3, 4. */
static void test_sequence_is_xoshiro256(void **state)
{
	rng r = {{1, 2, 3, 4}};

	(void)state;
	assert_true(rng_u64(&r) == 11520u);
	assert_true(rng_u64(&r) == 0u);
	assert_true(rng_u64(&r) == 1509978240u);
	assert_true(rng_u64(&r) == 1215971899390074240u);
}

static void test_unit_and_gauss_moments(void **state)
{
	enum { DRAWS = 200000 };
	double unit_sum = 0, gauss_sum = 0, gauss_square = 0;
	rng r;

	(void)state;
	rng_seed(&r, SEED);
	for (int i = 0; i < DRAWS; i++) {
		double unit = rng_unit(&r), gauss = rng_gauss(&r);
		assert_true(unit >= 0 && unit < 1);
		unit_sum += unit;
		gauss_sum += gauss;
		gauss_square += gauss * gauss;
	}
	/* Five standard errors. */
	assert_true(fabs(unit_sum / DRAWS - 0.5) < 5 * sqrt(1.0 / 12 / DRAWS));
	assert_true(fabs(gauss_sum / DRAWS) < 5 * sqrt(1.0 / DRAWS));
	assert_true(fabs(gauss_square / DRAWS - 1) < 5 * sqrt(2.0 / DRAWS));
}

static void test_below_stays_below_and_is_even(void **state)
{
	enum { DRAWS = 70000 };
	const uint32_t bounds[] = {1, 2, 3, 7, 1000, 0x80000001u, UINT32_MAX};
	int found[7] = {0};
	rng r;

	(void)state;
	rng_seed(&r, SEED);
	for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
		for (int i = 0; i < 1000; i++)
			assert_true(rng_below(&r, bounds[b]) < bounds[b]);
	}
	for (int i = 0; i < DRAWS; i++)
		found[rng_below(&r, 7)]++;
	for (int i = 0; i < 7; i++)
		assert_true(abs(found[i] - DRAWS / 7) < 5 * 93); /* sqrt(70000 * 1/7 * 6/7) = 92.6 */
}

static void test_mix_depends_on_both_and_their_order(void **state)
{
	(void)state;
	assert_true(rng_mix(1, 2) != rng_mix(2, 1));
	assert_true(rng_mix(1, 2) != rng_mix(1, 3));
	assert_true(rng_mix(1, 2) != rng_mix(2, 2));
	assert_true(rng_mix(0, 0) != 0);
	assert_true(rng_mix(1, 2) == rng_mix(1, 2));
}

/* Computed outside, in arbitrary-precision integers. */
static const struct {
	uint64_t key;
	uint32_t i;
	int32_t centred; /* value * 2^23 */
} known[] = {
	{0x0u, 0x0u, 7686508},
	{0x0u, 0x1u, -5299131},
	{0x0u, 0x2u, -6515277},
	{0x0u, 0x3039u, -7554802},
	{0x0u, 0xffffffffu, 2943609},
	{0x1u, 0x0u, 3204624},
	{0x1u, 0x1u, -3613556},
	{0x1u, 0x2u, -329284},
	{0x1u, 0x3039u, 5965925},
	{0x1u, 0xffffffffu, 5420961},
	{0x100000000u, 0x0u, -4904172},
	{0x100000000u, 0x1u, 7930732},
	{0x100000000u, 0x2u, -4350863},
	{0x100000000u, 0x3039u, 3427428},
	{0x100000000u, 0xffffffffu, -5391172},
	{0xfedcba9876543210u, 0x0u, -8302205},
	{0xfedcba9876543210u, 0x1u, 7357679},
	{0xfedcba9876543210u, 0x2u, -7540551},
	{0xfedcba9876543210u, 0x3039u, 7368349},
	{0xfedcba9876543210u, 0xffffffffu, -8211225},
};
#define KNOWN_COUNT (sizeof known / sizeof known[0])

static void test_streams_match_known_values(void **state)
{
	(void)state;
	for (size_t k = 0; k < KNOWN_COUNT; k++) {
		double expected = (double)known[k].centred / 8388608.0;
		if ((double)rng_at(known[k].key, known[k].i) != expected)
			fail_msg("key %llx, element %u: %.9g, expected %.9g", (unsigned long long)known[k].key,
			         known[k].i, (double)rng_at(known[k].key, known[k].i), expected);
	}
}

static bool same_bits(float a, float b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

static void test_fills_equal_single_elements(void **state)
{
	enum { MOST = 1000, GUARD = 4 };
	const size_t counts[] = {0, 1, 7, 63, 64, 65, 127, 128, 129, MOST};
	const uint32_t firsts[] = {0, 1, 13, 0xfffffff0u}; /* the last wraps */
	const uint64_t key = 0x123456789abcdef0u;
	const float scale = 0.0123f;
	float f32[MOST + GUARD];
	uint16_t bf16[MOST + GUARD];

	(void)state;
	for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
		for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
			memset(f32, 0x5a, sizeof f32);
			memset(bf16, 0x5a, sizeof bf16);
			rng_fill_f32(f32, counts[c], key, firsts[f], scale);
			rng_fill_bf16(bf16, counts[c], key, firsts[f], scale);
			for (size_t i = 0; i < counts[c]; i++) {
				float expected = scale * rng_at(key, firsts[f] + (uint32_t)i);
				assert_true(same_bits(f32[i], expected));
				assert_int_equal(bf16[i], bf16_from_f32(expected));
			}
			for (size_t i = counts[c]; i < counts[c] + GUARD; i++)
				assert_int_equal(bf16[i], 0x5a5a);
			assert_memory_equal(f32 + counts[c], "ZZZZZZZZZZZZZZZZ", GUARD * sizeof f32[0]);
		}
	}
}

static void test_fill_starts_anywhere(void **state)
{
	float whole[300], parts[300];

	(void)state;
	rng_fill_f32(whole, 300, 9, 0, 1.0f);
	rng_fill_f32(parts, 100, 9, 0, 1.0f);
	rng_fill_f32(parts + 100, 1, 9, 100, 1.0f);
	rng_fill_f32(parts + 101, 199, 9, 101, 1.0f);
	assert_memory_equal(whole, parts, sizeof whole);
}

typedef struct moments {
	double mean, variance, lag, correlation;
} moments;

/* Of one stream, with its own next element and with another stream. */
static moments measure(uint64_t key, uint64_t other, uint32_t count)
{
	double sum = 0, square = 0, lag = 0, cross = 0;

	for (uint32_t i = 0; i < count; i++) {
		double x = (double)rng_at(key, i);
		sum += x;
		square += x * x;
		lag += x * (double)rng_at(key, i + 1);
		cross += x * (double)rng_at(other, i);
	}
	return (moments){sum / count, square / count, lag / count, cross / count};
}

/* Keys that differ in one bit of either half, and neighbours, give unrelated streams. */
static void test_streams_are_uniform_and_unrelated(void **state)
{
	enum { COUNT = 20000 };
	const double standard_error = 1.0 / 3 / sqrt(COUNT);

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t key = 41, other = key ^ (uint64_t)1 << bit;
		moments m = measure(other, key, COUNT);
		assert_true(fabs(m.mean) < 5 * sqrt(1.0 / 3 / COUNT));
		assert_true(fabs(m.variance - 1.0 / 3) < 5 * sqrt(4.0 / 45 / COUNT));
		if (fabs(m.lag) > 5 * standard_error || fabs(m.correlation) > 5 * standard_error)
			fail_msg("key bit %u: lag %g, correlation %g", bit, m.lag, m.correlation);
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* A stream is no rearrangement of its neighbour: few values of one occur in the other. */
static void test_neighbouring_keys_are_not_shuffles(void **state)
{
	enum { COUNT = 4096 };
	uint32_t values[2 * COUNT];
	int repeats = 0;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++) {
		values[i] = (uint32_t)(int32_t)(rng_at(1000, i) * 8388608.0f);
		values[COUNT + i] = (uint32_t)(int32_t)(rng_at(1001, i) * 8388608.0f);
	}
	qsort(values, 2 * COUNT, sizeof values[0], compare_u32);
	for (int i = 1; i < 2 * COUNT; i++)
		repeats += values[i] == values[i - 1];
	/* 8192 draws of 2^24 values: 2 repeats expected. */
	assert_true(repeats < 12);
}

static void test_bf16_rounding(void **state)
{
	(void)state;
	assert_int_equal(bf16_from_f32(1.0f), 0x3f80);
	assert_int_equal(bf16_from_f32(-0.0f), 0x8000);
	assert_int_equal(bf16_from_f32(0x1.01p0f), 0x3f80);   /* halfway, to even below */
	assert_int_equal(bf16_from_f32(0x1.03p0f), 0x3f82);   /* halfway, to even above */
	assert_int_equal(bf16_from_f32(0x1.0102p0f), 0x3f81); /* past halfway */
	assert_int_equal(bf16_from_f32(0x1.fffffep127f), 0x7f80);
	assert_int_equal(bf16_from_f32(INFINITY), 0x7f80);
	assert_true(isnan(bf16_to_f32(bf16_from_f32(NAN))));
	assert_true(isnan(bf16_to_f32(0x7f81)));
	for (uint32_t bits = 0; bits < 0x10000; bits++) {
		if (!isnan(bf16_to_f32((uint16_t)bits)))
			assert_int_equal(bf16_from_f32(bf16_to_f32((uint16_t)bits)), bits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seeding_is_splitmix64),
		cmocka_unit_test(test_sequence_is_xoshiro256),
		cmocka_unit_test(test_unit_and_gauss_moments),
		cmocka_unit_test(test_below_stays_below_and_is_even),
		cmocka_unit_test(test_mix_depends_on_both_and_their_order),
		cmocka_unit_test(test_streams_match_known_values),
		cmocka_unit_test(test_fills_equal_single_elements),
		cmocka_unit_test(test_fill_starts_anywhere),
		cmocka_unit_test(test_streams_are_uniform_and_unrelated),
		cmocka_unit_test(test_neighbouring_keys_are_not_shuffles),
		cmocka_unit_test(test_bf16_rounding),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
