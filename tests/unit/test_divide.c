/* SPDX-License-Identifier: MIT */
/* One budget for engines with experts of several geometries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/assert_error.h"
#include "support/fixture.h"

#define MIB ((uint64_t)1 << 20)

/* So wide that an expert has several granules, also of a GPU. */
static uint32_t width(void)
{
	return fixture_granule() > MIB ? 768 : 192;
}

/* The second model's experts are about twice as large. */
static void open_models(fixture f[2])
{
	const fixture_config c[2] = {
		{.experts = 12, .d_model = width(), .d_hidden = width(), .vram_target_bytes = 512 * MIB},
		{.experts = 10,
	     .d_model = width(),
	     .d_hidden = 2 * width(),
	     .vram_target_bytes = 512 * MIB,
	     .top_k = 1}};
	for (uint32_t i = 0; i < 2; i++) {
		if (fixture_open(&f[i], &c[i]) != UFM_OK)
			fail_msg("open: %s", ufm_last_error());
	}
}

static void close_models(fixture f[2])
{
	fixture_close(&f[0]);
	fixture_close(&f[1]);
}

static ufm_engine_bounds bounds_of(fixture *f)
{
	ufm_engine_bounds b;
	UFM_STRUCT_INIT(&b);
	assert_int_equal(ufm_engine_get_bounds(f->engine, &b), UFM_OK);
	return b;
}

static ufm_status divide(fixture f[2], uint64_t total_bytes, uint64_t bytes[2])
{
	ufm_engine *engines[2] = {f[0].engine, f[1].engine};
	return ufm_engines_divide(engines, 2, total_bytes, bytes);
}

static void check_sum(fixture f[2], uint64_t total_bytes, const uint64_t bytes[2])
{
	uint64_t sum_bytes = 0;
	for (uint32_t i = 0; i < 2; i++) {
		ufm_engine_bounds b = bounds_of(&f[i]);
		assert_true(bytes[i] >= b.least_bytes && bytes[i] <= b.most_bytes);
		assert_true(b.now_bytes <= bytes[i]);
		sum_bytes += bytes[i];
	}
	assert_true(sum_bytes <= total_bytes);
}

static void every_total_from_least_to_more_than_all(void **state)
{
	(void)state;
	fixture f[2];
	uint64_t bytes[2];
	open_models(f);
	ufm_engine_bounds a = bounds_of(&f[0]), b = bounds_of(&f[1]);
	uint64_t least = a.least_bytes + b.least_bytes, most = a.most_bytes + b.most_bytes;
	for (uint32_t step = 0; step <= 8; step++) {
		uint64_t total = least + (most - least) * step / 7; /* the last is more than all */
		assert_int_equal(divide(f, total, bytes), UFM_OK);
		check_sum(f, total, bytes);
		/* What one cannot use the other gets. */
		if (total < most)
			assert_true(bytes[0] + bytes[1] + 4 >= total);
		else
			assert_true(bytes[0] == a.most_bytes && bytes[1] == b.most_bytes);
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(fixture_run(&f[i], step), UFM_OK);
			assert_int_equal(fixture_counter(&f[i], "uses"),
			                 fixture_counter(&f[i], "resident_uses") +
			                     fixture_counter(&f[i], "streamed_uses"));
		}
	}
	close_models(f);
}

/* Whose experts are used gets the room; when that changes so does the division. */
static void shares_follow_use(void **state)
{
	(void)state;
	fixture f[2];
	uint64_t first[2], second[2];
	open_models(f);
	ufm_engine_bounds a = bounds_of(&f[0]), b = bounds_of(&f[1]);
	uint64_t total = (a.least_bytes + a.most_bytes + b.least_bytes + b.most_bytes) / 2;
	assert_int_equal(divide(f, total, first), UFM_OK);
	for (uint32_t busy = 0; busy < 2; busy++) {
		for (uint64_t step = 0; step < 5; step++)
			assert_int_equal(fixture_run(&f[busy], step), UFM_OK);
		assert_int_equal(divide(f, total, second), UFM_OK);
		check_sum(f, total, second);
		assert_true(second[busy] >= first[busy]);
		const ufm_engine_bounds *idle = busy ? &a : &b, *own = busy ? &b : &a;
		/* The idle one keeps its least, or what is of no use to the other. */
		assert_true(second[!busy] == idle->least_bytes || second[busy] == own->most_bytes);
		memcpy(first, second, sizeof first);
	}
	close_models(f);
}

static void wrong_divisions_change_nothing(void **state)
{
	(void)state;
	fixture f[2];
	uint64_t bytes[2] = {7, 7};
	open_models(f);
	ufm_engine_bounds a = bounds_of(&f[0]), b = bounds_of(&f[1]);
	assert_error(divide(f, a.least_bytes + b.least_bytes - 1, bytes), UFM_EBUDGET,
	             "2 engines: the smallest working sets together need");
	ufm_engine *twice[2] = {f[0].engine, f[0].engine}, *none[2] = {f[0].engine, NULL};
	assert_error(ufm_engines_divide(twice, 2, 64 * MIB, bytes), UFM_EINVAL, "engines[1]");
	assert_error(ufm_engines_divide(none, 2, 64 * MIB, bytes), UFM_EINVAL, "engines[1]");
	assert_error(ufm_engines_divide(NULL, 2, 64 * MIB, bytes), UFM_EINVAL, "engines: NULL");
	assert_error(ufm_engines_divide(twice, 0, 64 * MIB, bytes), UFM_EINVAL, "engines: none");
	assert_true(bytes[0] == 7 && bytes[1] == 7);
	assert_int_equal(bounds_of(&f[0]).now_bytes, a.now_bytes);
	assert_int_equal(bounds_of(&f[1]).now_bytes, b.now_bytes);
	assert_int_equal(ufm_engines_divide(twice, 1, a.least_bytes, NULL), UFM_OK);
	assert_int_equal(bounds_of(&f[0]).now_bytes, a.least_bytes);
	close_models(f);
}

/* A lease holds slots that must go: what it says, and both go on. */
static void a_lease_is_in_the_way(void **state)
{
	(void)state;
	fixture f[2];
	ufm_lease *lease;
	const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 6};
	open_models(f);
	ufm_engine_bounds a = bounds_of(&f[0]), b = bounds_of(&f[1]);
	assert_int_equal(ufm_acquire_begin(f[0].engine, 0, ids, 7, &lease), UFM_OK);
	assert_int_equal(divide(f, a.least_bytes + b.least_bytes, NULL), UFM_EBUSY);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	assert_int_equal(divide(f, a.least_bytes + b.least_bytes, NULL), UFM_OK);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(fixture_run(&f[i], 1), UFM_OK);
	close_models(f);
}

static void engines_begin_small(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 12, .d_model = width(), .d_hidden = width()};
	ufm_engine_config config;
	ufm_engine *engine;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	UFM_STRUCT_INIT(&config);
	config.max_tokens = 4;
	config.top_k_max = 2;
	config.cpu_assist = UFM_CPU_OFF;
	config.smallest = 1;
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_OK);
	ufm_engine_bounds b;
	UFM_STRUCT_INIT(&b);
	assert_int_equal(ufm_engine_get_bounds(engine, &b), UFM_OK);
	assert_int_equal(b.now_bytes, b.least_bytes);
	assert_true(b.most_bytes > b.least_bytes);
	assert_int_equal(ufm_engine_resize(engine, b.most_bytes), UFM_OK);
	ufm_engine_close(engine);
	config.vram_target_bytes = 16 * MIB;
	assert_error(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL, "smallest: expected");
	config.vram_target_bytes = 0;
	config.resident_all = 1;
	assert_error(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL, "smallest: expected");
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_total_from_least_to_more_than_all),
		cmocka_unit_test(shares_follow_use),
		cmocka_unit_test(wrong_divisions_change_nothing),
		cmocka_unit_test(a_lease_is_in_the_way),
		cmocka_unit_test(engines_begin_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
