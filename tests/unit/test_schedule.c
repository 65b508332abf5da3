/* SPDX-License-Identifier: MIT */
/* The order of a layer's demand, and its row table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <ufm/backend.h>

#include "base/rng.h"
#include "schedule/schedule.h"

/* ------------------------------------------------------------------ order */

static void test_order(void **state)
{
	schedule_demand demands[] = {
		{.expert = 7, .tokens = 1},
		{.expert = 3, .tokens = 5, .resident = true},
		{.expert = 9, .tokens = 4},
		{.expert = 1, .tokens = 1, .resident = true},
		{.expert = 2, .tokens = 4},
		{.expert = 8, .tokens = 2, .resident = true, .refilled_next = true},
		{.expert = 5, .tokens = 9, .resident = true},
		{.expert = 4, .tokens = 9},
	};
	const uint32_t expected[] = {8, 1, 4, 3, 2, 5, 9, 7};
	const uint32_t launches[] = {0, 1, 2, 3, 4, 5, 6, 8};
	schedule_plan plan = schedule_layer(demands, 8);

	(void)state;
	assert_int_equal(plan.resident, 4);
	assert_int_equal(plan.streamed, 4);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(demands[i].expert, expected[i]);
		assert_int_equal(demands[i].launch, launches[i]);
	}
}

static void test_order_of_few(void **state)
{
	schedule_demand one = {.expert = 4, .tokens = 2, .launch = 77};
	schedule_plan plan = schedule_layer(&one, 1);

	(void)state;
	assert_int_equal(plan.resident, 0);
	assert_int_equal(plan.streamed, 1);
	assert_int_equal(one.expert, 4);
	plan = schedule_layer(NULL, 0);
	assert_int_equal(plan.resident + plan.streamed, 0);
}

/* Nothing to wait for: one launch, by id. */
static void test_all_resident(void **state)
{
	schedule_demand demands[5];

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		demands[i] = (schedule_demand){.expert = 4 - i,
		                               .tokens = 1 + i,
		                               .resident = true,
		                               .refilled_next = false,
		                               .launch = i};
	assert_int_equal(schedule_layer(demands, 5).resident, 5);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(demands[i].expert, i);
		assert_int_equal(demands[i].launch, 0);
	}
}

static schedule_demand random_demand(rng *r, uint32_t expert)
{
	schedule_demand d = {.expert = expert, .tokens = 1 + rng_below(r, 6)};

	d.resident = rng_below(r, 3) != 0;
	d.refilled_next = d.resident && rng_below(r, 5) == 0;
	return d;
}

/* Once each, launches ascending, streamed ones alone in theirs and by tokens, shares even. */
static void check_order(const schedule_demand *demands, uint32_t n, schedule_plan plan)
{
	uint32_t seen[300] = {0}, last_tokens = UINT32_MAX, share = 0, least = UINT32_MAX, most = 0;

	for (uint32_t i = 0; i < n; i++) {
		const schedule_demand *d = &demands[i];

		assert_int_equal(seen[d->expert]++, 0);
		assert_true(i == 0 || d->launch >= demands[i - 1].launch);
		assert_int_equal(d->launch == 0, d->refilled_next || plan.streamed == 0);
		share += d->resident && !d->refilled_next;
		if (d->resident)
			continue;
		assert_true(i == 0 || demands[i - 1].launch < d->launch);
		assert_true(i + 1 == n || demands[i + 1].launch > d->launch);
		assert_true(d->tokens <= last_tokens);
		last_tokens = d->tokens;
		least = share < least ? share : least;
		most = share > most ? share : most;
		share = 0;
	}
	assert_true(plan.streamed == 0 || (share == 0 && most - least <= 1));
}

static void test_order_of_many(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 300; seed++) {
		schedule_demand demands[300], again[300];
		uint32_t n = (uint32_t)(seed % 300);
		rng r;

		rng_seed(&r, seed);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t j = rng_below(&r, i + 1);

			demands[i] = demands[j];
			demands[j] = random_demand(&r, i);
		}
		for (uint32_t i = 0; i < n; i++)
			again[i] = demands[n - 1 - i];
		check_order(demands, n, schedule_layer(demands, n));
		schedule_layer(again, n);
		for (uint32_t i = 0; i < n; i++) {
			if (demands[i].expert != again[i].expert)
				fail_msg("seed %llu: position %u", (unsigned long long)seed, i);
		}
	}
}

/* ------------------------------------------------------------------ demands */

static void test_demands(void **state)
{
	const int32_t ids[] = {4, 0, 0, -1, 9, 4, 5, INT32_MIN, INT32_MAX, 4};
	schedule_demand demands[6];
	uint32_t counts[6];
	uint32_t n;

	(void)state;
	memset(counts, 0xff, sizeof counts);
	n = schedule_demands(ids, 10, 6, counts, demands);
	assert_int_equal(n, 3);
	assert_int_equal(demands[0].expert, 4);
	assert_int_equal(demands[0].tokens, 3);
	assert_int_equal(demands[1].expert, 0);
	assert_int_equal(demands[1].tokens, 2);
	assert_int_equal(demands[2].expert, 5);
	assert_int_equal(demands[2].tokens, 1);
	assert_false(demands[2].resident);
	assert_int_equal(counts[4], 3);
	assert_int_equal(counts[1], 0);
	assert_int_equal(schedule_demands(ids, 0, 6, counts, demands), 0);
	assert_int_equal(schedule_demands(ids + 3, 2, 6, counts, demands), 0);
}

/* ------------------------------------------------------------------ rows */

/* Every assignment that counts has a row of its own token; the others have none. */
static void check_assignments(const int32_t *ids, uint64_t count, uint32_t top_k, uint32_t experts,
                              uint32_t rows, const uint32_t *row_of, const uint32_t *row_token)
{
	uint32_t seen = 0;

	for (uint64_t i = 0; i < count; i++) {
		bool skipped = ids[i] < 0 || (uint32_t)ids[i] >= experts;

		assert_int_equal(row_of[i] == UFM_ROW_NONE, skipped);
		if (skipped)
			continue;
		seen++;
		assert_true(row_of[i] < rows);
		assert_int_equal(row_token[row_of[i]], i / top_k);
	}
	assert_int_equal(seen, rows);
}

/* An expert's rows: tokens ascending, and each token chose it there. */
static void check_group(const int32_t *ids, uint32_t top_k, const schedule_demand *demand,
                        uint32_t first, const uint32_t *row_of, const uint32_t *row_token)
{
	for (uint32_t row = first; row < first + demand->tokens; row++) {
		uint64_t token = row_token[row];
		uint32_t chosen = 0;

		assert_true(row == first || token >= row_token[row - 1]);
		for (uint64_t i = token * top_k; i < (token + 1) * top_k; i++)
			chosen += row_of[i] == row && ids[i] == (int32_t)demand->expert;
		assert_int_equal(chosen, 1);
	}
}

static void check_rows(uint32_t tokens, uint32_t top_k, uint32_t experts, uint64_t seed)
{
	uint64_t count = (uint64_t)tokens * top_k;
	int32_t *ids = calloc(count + 1, sizeof *ids);
	uint32_t *row_of = calloc(count + 1, sizeof *row_of);
	uint32_t *row_token = calloc(count + 1, sizeof *row_token);
	uint32_t *counts = calloc(experts, sizeof *counts);
	schedule_demand *demands = calloc(experts, sizeof *demands);
	uint32_t n, rows, first = 0;
	rng r;

	assert_true(ids && row_of && row_token && counts && demands);
	rng_seed(&r, seed);
	for (uint64_t i = 0; i < count; i++)
		ids[i] = (int32_t)rng_below(&r, experts + 2) - 1;
	n = schedule_demands(ids, count, experts, counts, demands);
	schedule_layer(demands, n);
	rows = schedule_rows(ids, tokens, top_k, experts, demands, n, counts, row_of, row_token);
	check_assignments(ids, count, top_k, experts, rows, row_of, row_token);
	for (uint32_t d = 0; d < n; d++) {
		assert_int_equal(counts[demands[d].expert], first + demands[d].tokens);
		check_group(ids, top_k, &demands[d], first, row_of, row_token);
		first += demands[d].tokens;
	}
	assert_int_equal(first, rows);
	free(demands);
	free(counts);
	free(row_token);
	free(row_of);
	free(ids);
}

static void test_rows(void **state)
{
	(void)state;
	check_rows(0, 2, 4, 1);
	check_rows(1, 1, 1, 2);
	check_rows(5, 3, 1, 3); /* an expert may be chosen twice by one token */
	for (uint64_t seed = 4; seed < 60; seed++)
		check_rows((uint32_t)(seed * 7 % 41), 1 + (uint32_t)(seed % 5), 1 + (uint32_t)(seed % 13),
		           seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),        cmocka_unit_test(test_order_of_few),
		cmocka_unit_test(test_all_resident), cmocka_unit_test(test_order_of_many),
		cmocka_unit_test(test_demands),      cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
