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
#include "schedule/share.h"

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
	const uint32_t expected[] = {8, 1, 3, 5, 4, 2, 9, 7};
	const uint32_t launches[] = {0, 1, 1, 1, 2, 4, 6, 8};
	schedule_plan plan = schedule_layer(demands, 8, 1);

	(void)state;
	assert_int_equal(plan.resident, 4);
	assert_int_equal(plan.streamed, 4);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(demands[i].expert, expected[i]);
		assert_int_equal(demands[i].launch, launches[i]);
	}
}

/* Weight comes first; appeal says nothing of residents. */
static void test_order_by_appeal(void **state)
{
	schedule_demand demands[] = {
		{.expert = 1, .tokens = 1, .appeal = 1},
		{.expert = 2, .tokens = 2},
		{.expert = 3, .tokens = 1, .appeal = 8},
		{.expert = 5, .tokens = 1, .resident = true, .appeal = 9},
		{.expert = 0, .tokens = 1},
		{.expert = 4, .tokens = 1, .resident = true},
		{.expert = 6, .tokens = 1, .appeal = 8},
	};
	const uint32_t expected[] = {4, 5, 2, 3, 6, 1, 0};

	(void)state;
	(void)schedule_layer(demands, 7, 1);
	for (int i = 0; i < 7; i++)
		assert_int_equal(demands[i].expert, expected[i]);
}

static void test_order_of_few(void **state)
{
	schedule_demand one = {.expert = 4, .tokens = 2, .launch = 77};
	schedule_plan plan = schedule_layer(&one, 1, 1);

	(void)state;
	assert_int_equal(plan.resident, 0);
	assert_int_equal(plan.streamed, 1);
	assert_int_equal(one.expert, 4);
	plan = schedule_layer(NULL, 0, 1);
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
	assert_int_equal(schedule_layer(demands, 5, 1).resident, 5);
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
	d.appeal = (uint8_t)(d.resident ? 0 : rng_below(r, 3));
	return d;
}

/* The misses that a share of the residents goes before: a quarter of them, at least 4, and one where
 * there are no more than 4. */
static uint32_t shares_expected(uint32_t streamed)
{
	if (streamed <= 4)
		return 1;
	return streamed <= 16 ? 4 : (streamed + 3) / 4;
}

/* Of residents that are not refilled next, in order: launches are the odd numbers of their shares,
 * which differ by one at most. */
static void check_shares(const schedule_demand *demands, schedule_plan plan, uint32_t together)
{
	uint32_t copies = (plan.streamed + together - 1) / together;
	uint32_t shares = shares_expected(copies), sizes[300] = {0};
	uint32_t least = UINT32_MAX, most = 0, residents = 0;

	for (uint32_t i = 0; i < plan.resident && plan.streamed; i++) {
		if (demands[i].launch == 0)
			continue;
		residents++;
		assert_int_equal(demands[i].launch % 2, 1);
		assert_true(demands[i].launch / 2 < shares);
		sizes[demands[i].launch / 2]++;
	}
	for (uint32_t i = 0; i < shares && residents; i++) {
		least = sizes[i] < least ? sizes[i] : least;
		most = sizes[i] > most ? sizes[i] : most;
	}
	assert_true(residents == 0 || most - least <= 1);
}

/* Once each, residents before misses, launches ascending in either, misses by tokens, `together` of them in
 * each launch but the last. */
static void check_order(const schedule_demand *demands, uint32_t n, schedule_plan plan,
                        uint32_t together)
{
	uint32_t seen[300] = {0};

	assert_int_equal(plan.resident + plan.streamed, n);
	for (uint32_t i = 0; i < n; i++) {
		const schedule_demand *d = &demands[i], *before = i ? d - 1 : d;

		assert_int_equal(seen[d->expert]++, 0);
		assert_int_equal(d->resident, i < plan.resident);
		if (d->resident) {
			assert_true(d->launch >= before->launch);
			assert_int_equal(d->launch == 0, d->refilled_next || plan.streamed == 0);
			continue;
		}
		assert_int_equal(d->launch, 2 + 2 * ((i - plan.resident) / together));
		assert_true(i == plan.resident || d->tokens <= before->tokens);
	}
	check_shares(demands, plan, together);
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
		uint32_t together = 1 + (uint32_t)(seed % 5) * (uint32_t)(seed % 3);
		check_order(demands, n, schedule_layer(demands, n, together), together);
		schedule_layer(again, n, together);
		for (uint32_t i = 0; i < n; i++) {
			if (demands[i].expert != again[i].expert)
				fail_msg("seed %llu: position %u", (unsigned long long)seed, i);
		}
	}
}

/* ------------------------------------------------------------------ split */

#define SPLIT_MAX 12

static uint64_t end_of(const share_rates *r, const uint64_t *cpu_ns, uint32_t n, uint32_t taken)
{
	uint64_t link = r->link_busy_ns + (r->link_only + n - taken) * r->link_ns;
	uint64_t cpu = r->cpu_busy_ns;

	for (uint32_t i = 0; i < taken; i++)
		cpu += cpu_ns[i];
	return link > cpu ? link : cpu;
}

/* When the best of all ways to divide the misses ends, whichever the CPU gets. */
static uint64_t best_of_all(const share_rates *r, const uint64_t *cpu_ns, uint32_t n)
{
	uint64_t best = UINT64_MAX;

	for (uint32_t set = 0; set < 1u << n; set++) {
		uint64_t link = r->link_busy_ns + r->link_only * r->link_ns, cpu = r->cpu_busy_ns;

		for (uint32_t i = 0; i < n; i++) {
			link += set >> i & 1 ? 0 : r->link_ns;
			cpu += set >> i & 1 ? cpu_ns[i] : 0;
		}
		uint64_t end = link > cpu ? link : cpu;
		best = end < best ? end : best;
	}
	return best;
}

static void test_split_of_few(void **state)
{
	const uint64_t even[] = {94, 94, 94};
	share_rates r = {.link_ns = 180};

	(void)state;
	assert_int_equal(share_split(&r, even, 3), 2);
	assert_int_equal(share_split(&r, even, 1), 1);
	assert_int_equal(share_split(&r, even, 0), 0);
	r.cpu_busy_ns = 87; /* the copy would end first */
	assert_int_equal(share_split(&r, even, 1), 0);
	r.link_busy_ns = 180;
	assert_int_equal(share_split(&r, even, 1), 1);
	r = (share_rates){.link_ns = 10, .link_only = 3};
	assert_int_equal(share_split(&r, even, 3), 0);
	r.link_ns = 1000;
	assert_int_equal(share_split(&r, even, 3), 3);
	r = (share_rates){.link_ns = 94}; /* as early either way: the device may keep what it gets */
	assert_int_equal(share_split(&r, even, 1), 0);
	r = (share_rates){.link_ns = 180, .cpu_start_ns = 90}; /* not worth the beginning */
	assert_int_equal(share_split(&r, even, 1), 0);
	assert_int_equal(share_split(&r, even, 2), 1);
}

/* The lightest that fit, that cost no more than eight copies, and all of them twice the link's time. */
static void test_candidates(void **state)
{
	const schedule_demand misses[] = {
		{.tokens = 9}, {.tokens = 4}, {.tokens = 2}, {.tokens = 1}, {.tokens = 1}};
	const uint64_t cpu_ns[] = {10, 10, 20, 40, 90};
	share_terms t = {.copy_ns = 100, .rows_max = 100};

	(void)state;
	assert_int_equal(share_candidates(&t, misses, 0, cpu_ns), 0);
	assert_int_equal(share_candidates(&t, misses, 5, cpu_ns), 5);
	t.rows_max = 7;
	assert_int_equal(share_candidates(&t, misses, 5, cpu_ns), 3);
	t = (share_terms){.copy_ns = 2,
	                  .rows_max = 100}; /* 17 ns forbid an expert; 21 ns all of them */
	assert_int_equal(share_candidates(&t, misses, 5, cpu_ns), 2);
	t.copy_ns = 1;
	assert_int_equal(share_candidates(&t, misses, 5, cpu_ns), 0);
	t.rows_max = 0;
	t.copy_ns = 100;
	assert_int_equal(share_candidates(&t, misses, 5, cpu_ns), 0);
}

/* Light experts cost no more than heavy ones, so no other way to divide them is better. */
static void test_split_is_the_best(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 400; seed++) {
		uint64_t cpu_ns[SPLIT_MAX] = {0};
		uint32_t n = (uint32_t)(seed % (SPLIT_MAX + 1)), taken;
		rng r;

		rng_seed(&r, seed);
		uint32_t step = rng_below(&r, 3) * 20;
		for (uint32_t i = 0; i < n; i++)
			cpu_ns[i] =
				(i ? cpu_ns[i - 1] : 1 + rng_below(&r, 200)) + (step ? rng_below(&r, step) : 0);
		share_rates rates = {.link_ns = 1 + rng_below(&r, 300),
		                     .link_busy_ns = rng_below(&r, 300),
		                     .cpu_busy_ns = rng_below(&r, 300),
		                     .link_only = rng_below(&r, 4)};
		taken = share_split(&rates, cpu_ns, n);
		assert_true(taken <= n);
		assert_int_equal(end_of(&rates, cpu_ns, n, taken), best_of_all(&rates, cpu_ns, n));
		if (taken)
			assert_true(end_of(&rates, cpu_ns, n, taken - 1) > end_of(&rates, cpu_ns, n, taken));
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
	schedule_layer(demands, n, 1);
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
		cmocka_unit_test(test_order),         cmocka_unit_test(test_order_by_appeal),
		cmocka_unit_test(test_order_of_few),  cmocka_unit_test(test_all_resident),
		cmocka_unit_test(test_order_of_many), cmocka_unit_test(test_split_of_few),
		cmocka_unit_test(test_candidates),    cmocka_unit_test(test_split_is_the_best),
		cmocka_unit_test(test_demands),       cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
