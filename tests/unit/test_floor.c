/* SPDX-License-Identifier: MIT */
/* Floors of a step against figures computed by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench/floor.h"

/* d_model 2048, d_hidden 8192, two matrices and biases in f32. */
#define REFERENCE_BYTES (4ull * (2ull * 2048 * 8192 + 2048 + 8192))
#define REFERENCE_TOKENS 512
/* 2 operations x 512 tokens x 2 experts x 2 x 2048 x 8192 parameters */
#define REFERENCE_OPERATIONS (2.0 * 512 * 2 * 2 * 2048 * 8192)

static const floor_rates h200 = {.hbm_gbps = 4430,
                                 .link_gbps = 55,
                                 .sum_link_gbps = 49,
                                 .sum_cpu_gbps = 101,
                                 .peak_gflops = 60000};

static floor_demand reference(uint32_t experts, double touched, uint32_t slots)
{
	return (floor_demand){.layers = 1,
	                      .experts = experts,
	                      .slots = slots,
	                      .touched = touched,
	                      .missed = touched, /* as LRU would: no hit at all */
	                      .operations = REFERENCE_OPERATIONS,
	                      .expert_bytes = REFERENCE_BYTES};
}

static void near(double found, double expected, double tolerance)
{
	if (!(fabs(found - expected) <= tolerance * fabs(expected)))
		fail_msg("%.9g, expected %.9g", found, expected);
}

static step_floor floor_now(const floor_demand *demand, const floor_rates *rates)
{
	step_floor f = {.misses = -1};
	assert_true(floor_of_step(demand, rates, &f));
	return f;
}

static double tokens_per_s(double step_ms)
{
	return REFERENCE_TOKENS * 1000 / step_ms;
}

/* 96 x 134,258,688 bytes at 4430 GB/s are 2.9095 ms; the arithmetic takes 1.1453 ms. */
static void all_resident(void **state)
{
	(void)state;
	floor_demand d = reference(96, 96, 96);
	step_floor f = floor_now(&d, &h200);
	near(f.step_ms, 2.9095, 1e-4);
	near(tokens_per_s(f.step_ms), 176000, 1e-3);
	assert_int_equal(f.bound, FLOOR_HBM);
	assert_int_equal(f.kind, FLOOR_SWEEP);
	assert_true(f.misses == 0 && f.miss_ms == 0);
}

/* 190.8 - 119 = 71.8 misses: 9.63977e9 bytes at 55 GB/s are 175.27 ms. */
static void one_layer_swept(void **state)
{
	(void)state;
	floor_demand d = reference(192, 190.8, 119);
	step_floor f = floor_now(&d, &h200);
	near(f.step_ms, 175.27, 1e-4);
	near(tokens_per_s(f.step_ms), 2930, 5e-3);
	near(f.misses, 71.8, 1e-9);
	assert_int_equal(f.bound, FLOOR_LINK);
	assert_int_equal(f.kind, FLOOR_SWEEP);
	near(f.resident_ms, 5.7825, 1e-3);
}

/* The same bytes at 49 + 101 GB/s: 64.265 ms. */
static void one_layer_swept_with_the_cpu(void **state)
{
	(void)state;
	floor_demand d = reference(192, 190.8, 119);
	d.cpu = true;
	step_floor f = floor_now(&d, &h200);
	near(f.step_ms, 64.265, 1e-4);
	near(tokens_per_s(f.step_ms), 7950, 5e-3);
	assert_int_equal(f.bound, FLOOR_CPU_LINK);
	/* Where both together are slower than the link alone, nothing is gained. */
	floor_rates poor = h200;
	poor.sum_link_gbps = 20;
	poor.sum_cpu_gbps = 30;
	f = floor_now(&d, &poor);
	near(f.step_ms, 175.27, 1e-4);
	assert_int_equal(f.bound, FLOOR_LINK);
}

static void arithmetic_bounds(void **state)
{
	(void)state;
	floor_demand d = reference(8, 8, 8);
	step_floor f = floor_now(&d, &h200);
	near(f.step_ms, REFERENCE_OPERATIONS / 60000e9 * 1e3, 1e-9);
	assert_int_equal(f.bound, FLOOR_COMPUTE);
	floor_rates unknown = h200;
	unknown.peak_gflops = 0;
	f = floor_now(&d, &unknown);
	assert_int_equal(f.bound, FLOOR_HBM);
	near(f.step_ms, 8.0 * REFERENCE_BYTES / 4430e6, 1e-9);
}

/* 48 layers, 8 experts each of 9.4 MB, 2.5 of them missed: 48 x 2.5 x 9.4e6 / 55e9. */
static void many_layers_count_their_own_misses(void **state)
{
	(void)state;
	floor_demand d = {.layers = 48,
	                  .experts = 128,
	                  .slots = 1720,
	                  .touched = 8,
	                  .missed = 2.5,
	                  .expert_bytes = 9400000};
	step_floor f = floor_now(&d, &h200);
	near(f.step_ms, 20.5091, 1e-4);
	assert_int_equal(f.kind, FLOOR_MEASURED);
	assert_int_equal(f.bound, FLOOR_LINK);
	/* One layer that demands less than fits is no sweep either. */
	d.layers = 1;
	d.slots = 35;
	f = floor_now(&d, &h200);
	assert_int_equal(f.kind, FLOOR_MEASURED);
	near(f.misses, 2.5, 1e-9);
}

static void slots_decide_what_is_a_sweep(void **state)
{
	(void)state;
	floor_demand d = reference(192, 190, 190); /* fits, though not all experts do */
	assert_int_equal(floor_now(&d, &h200).kind, FLOOR_MEASURED);
	d.slots = 192;
	d.missed = 3; /* of a cold start */
	step_floor f = floor_now(&d, &h200);
	assert_int_equal(f.kind, FLOOR_SWEEP);
	assert_true(f.misses == 0);
	d.slots = 0; /* nothing is kept */
	f = floor_now(&d, &h200);
	near(f.misses, 190, 1e-9);
}

/* Over the link an expert takes 2, by the CPU 1. */
static void split_in_whole_experts(void **state)
{
	(void)state;
	static const struct {
		double misses, time;
	} cases[] = {{0, 0}, {1, 1}, {2, 2},   {3, 2},   {4, 3},
	             {5, 4}, {6, 4}, {30, 20}, {2.5, 2}, {0.25, 0.25}};
	for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		near(floor_split(cases[i].misses, 2, 1), cases[i].time, 1e-12);
		near(floor_split(cases[i].misses, 1, 2), cases[i].time, 1e-12);
	}
}

/* Against every k. */
static void split_is_the_best(void **state)
{
	(void)state;
	for (uint32_t n = 0; n <= 40; n++)
		for (double link = 0.3; link < 4; link += 0.7)
			for (double cpu = 0.2; cpu < 5; cpu += 0.9) {
				double best = INFINITY;
				for (uint32_t k = 0; k <= n; k++)
					best = fmin(best, fmax(k * link, (n - k) * cpu));
				near(floor_split(n, link, cpu), best, 1e-12);
			}
}

/* Link 49: 191.84 us an expert; CPU 101: 93.07 us. Three misses: one over the link, two by the CPU. */
static void decode_with_the_cpu(void **state)
{
	(void)state;
	floor_demand d = {.layers = 48,
	                  .experts = 128,
	                  .slots = 1720,
	                  .touched = 8,
	                  .missed = 3,
	                  .expert_bytes = 9400000,
	                  .cpu = true};
	step_floor f = floor_now(&d, &h200);
	near(f.step_ms, 48 * 0.19184, 1e-4);
	assert_int_equal(f.bound, FLOOR_CPU_LINK);
}

static void nothing_known_no_floor(void **state)
{
	(void)state;
	floor_demand d = reference(96, 96, 96);
	floor_rates r = h200;
	step_floor f = {.misses = -1};
	r.hbm_gbps = 0;
	assert_false(floor_of_step(&d, &r, &f));
	r = h200;
	r.link_gbps = 0;
	assert_false(floor_of_step(&d, &r, &f));
	d.touched = 0;
	assert_false(floor_of_step(&d, &h200, &f));
	assert_true(f.misses == -1);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(floor_bound_name(FLOOR_HBM), "hbm");
	assert_string_equal(floor_bound_name(FLOOR_COMPUTE), "compute");
	assert_string_equal(floor_bound_name(FLOOR_LINK), "link");
	assert_string_equal(floor_bound_name(FLOOR_CPU_LINK), "cpu+link");
	assert_string_equal(floor_kind_name(FLOOR_SWEEP), "sweep");
	assert_string_equal(floor_kind_name(FLOOR_MEASURED), "measured");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_resident),
		cmocka_unit_test(one_layer_swept),
		cmocka_unit_test(one_layer_swept_with_the_cpu),
		cmocka_unit_test(arithmetic_bounds),
		cmocka_unit_test(many_layers_count_their_own_misses),
		cmocka_unit_test(slots_decide_what_is_a_sweep),
		cmocka_unit_test(split_in_whole_experts),
		cmocka_unit_test(split_is_the_best),
		cmocka_unit_test(decode_with_the_cpu),
		cmocka_unit_test(nothing_known_no_floor),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
