/* SPDX-License-Identifier: MIT */
/* How many steps a row warms up by, and the quantiles of those that follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/median.h"
#include "cli/bench/warmup.h"
#include "support/assert_error.h"

static void only_numbers_and_auto_are_taken(void **state)
{
	(void)state;
	static const char *const good[] = {"auto", "0", "1", "100000"};
	static const char *const bad[] = {"", "-1", "1.5", "100001", "1 ", "4294967296", "Auto", "ten"};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_int_equal(warmup_check(good[i]), UFM_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_error(warmup_check(bad[i]), UFM_EINVAL, "expected auto, or 0 to 100000 steps");
	assert_error(warmup_check("aut"), UFM_EINVAL, "did you mean 'auto'?");
}

/* Steps that are made when the slots are filled after so many of them. */
static uint32_t steps_made(const warmup *w, uint32_t filled_after, uint64_t step_ns)
{
	uint32_t done = 0;
	bool last = w->steps == 0;

	while (!last) {
		last = warmup_ends(w, done, done >= filled_after, done * step_ns);
		done++;
	}
	return done;
}

static void a_number_is_kept_to_in_every_mode(void **state)
{
	(void)state;
	static const placement_mode modes[] = {MODE_BASELINE, MODE_NAIVE_OFFLOAD, MODE_UFM};

	for (size_t i = 0; i < 3; i++) {
		bench_config config = {.warmup = "7"};
		warmup w = warmup_of(&config, modes[i], 40);
		assert_int_equal(w.from, 0);
		assert_int_equal(steps_made(&w, 0, 0), 7);
		assert_int_equal(steps_made(&w, 100, WARMUP_NS_MAX), 7);
		config.warmup = "0";
		w = warmup_of(&config, modes[i], 40);
		assert_int_equal(steps_made(&w, 0, 0), 0);
	}
}

static void auto_makes_one_step_more_than_fills_the_slots(void **state)
{
	(void)state;
	bench_config config = {.warmup = "auto"};
	warmup w = warmup_of(&config, MODE_UFM, 1);

	assert_int_equal(w.from, 0);
	assert_int_equal(steps_made(&w, 0, 0), 1);
	assert_int_equal(steps_made(&w, 12, 0), 13);
	assert_int_equal(steps_made(&w, UINT32_MAX, 0), WARMUP_STEPS_MAX);
	assert_int_equal(steps_made(&w, UINT32_MAX, WARMUP_NS_MAX / 4), 5);
	config.quick = 1;
	w = warmup_of(&config, MODE_UFM, 1);
	assert_int_equal(steps_made(&w, UINT32_MAX, WARMUP_QUICK_NS_MAX / 4), 5);
}

static void other_modes_begin_where_ufm_did(void **state)
{
	(void)state;
	bench_config config = {.warmup = "auto"};

	for (uint32_t begins = 1; begins < 50; begins += 7) {
		warmup w = warmup_of(&config, MODE_NAIVE_OFFLOAD, begins);
		assert_int_equal(w.from + steps_made(&w, 100, 0), begins);
		assert_int_equal(steps_made(&w, 0, 0), 1);
	}
}

static void quantiles_lie_between_neighbours(void **state)
{
	(void)state;
	double one[] = {3}, two[] = {4, 2}, five[] = {5, 1, 4, 2, 3}, six[] = {6, 1, 5, 2, 4, 3};

	assert_true(quantile_of(one, 1, 0.25) == 3 && quantile_of(one, 1, 1) == 3);
	assert_true(quantile_of(two, 2, 0) == 2 && quantile_of(two, 2, 0.25) == 2.5);
	assert_true(quantile_of(five, 5, 0.25) == 2 && quantile_of(five, 5, 0.75) == 4);
	assert_true(quantile_of(six, 6, 0.5) == 3.5 && median_of(six, 6) == 3.5);
	assert_true(quantile_of(six, 6, 0.75) == 4.75 && quantile_of(six, 6, 1) == 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_numbers_and_auto_are_taken),
		cmocka_unit_test(a_number_is_kept_to_in_every_mode),
		cmocka_unit_test(auto_makes_one_step_more_than_fills_the_slots),
		cmocka_unit_test(other_modes_begin_where_ufm_did),
		cmocka_unit_test(quantiles_lie_between_neighbours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
