/* SPDX-License-Identifier: MIT */
/* How choosy admission is: free without terms, open while the link keeps up, choosy when it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schedule/admit.h"

static void without_terms_everything_is_admitted(void **state)
{
	admit a;
	(void)state;
	admit_open(&a, &(admit_terms){0});
	for (uint32_t i = 0; i < 1000; i++) {
		assert_true(admit_call(&a, i) == 1);
		admit_kept(&a, i);
	}
}

/* A copy takes as long as two calls, so one in two calls can be kept. */
static void the_bar_follows_what_the_link_owes(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 90, .call_ns = 0};
	admit a;
	(void)state;
	admit_open(&a, &terms);
	for (uint32_t i = 0; i < 2000; i++) { /* half of the calls miss one, and each is kept */
		float bar = admit_call(&a, i % 2);
		assert_true(bar > 0 && bar <= 1);
		admit_kept(&a, i % 2);
	}
	assert_true(a.bar < 0.2f); /* 90 ns for each 200 that are owed */
	assert_true(a.owed_ns > 8 * 200);
	for (uint32_t i = 0; i < 60000; i++)
		(void)admit_call(&a, 1); /* nothing more is kept */
	assert_true(a.bar == 1 && a.owed_ns == 0);
}

/* What the link brings for the layers themselves is admitted without a debt; but where it is always wanted there
 * is no time for copies that can wait. */
static void the_links_share_is_free_and_nothing_else(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 100};
	(void)state;
	for (uint32_t kept = 2; kept <= 3; kept++) { /* of six misses the link brings two */
		admit a;
		admit_open(&a, &terms);
		for (uint32_t i = 0; i < 4000; i++) {
			(void)admit_call(&a, 6);
			admit_kept(&a, kept);
		}
		assert_true(kept == 2 ? a.bar == 1 : a.bar < 0.2f);
	}
}

static void a_link_that_keeps_up_asks_nothing(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 300};
	admit a;
	(void)state;
	admit_open(&a, &terms);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_true(admit_call(&a, 1) == 1);
		admit_kept(&a, 1);
	}
}

/* The same calls give the same bars: nothing else counts. */
static void the_bar_is_repeatable(void **state)
{
	const admit_terms terms = {.copy_ns = 171, .cpu_ns = 90, .call_ns = 50};
	admit a, b;
	(void)state;
	admit_open(&a, &terms);
	admit_open(&b, &terms);
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t misses = i * 2654435761u >> 29;
		assert_true(admit_call(&a, misses) == admit_call(&b, misses));
		admit_kept(&a, misses / 2);
		admit_kept(&b, misses / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_terms_everything_is_admitted),
		cmocka_unit_test(the_bar_follows_what_the_link_owes),
		cmocka_unit_test(the_links_share_is_free_and_nothing_else),
		cmocka_unit_test(a_link_that_keeps_up_asks_nothing),
		cmocka_unit_test(the_bar_is_repeatable),
	};
	return cmocka_run_group_tests_name("admit", tests, NULL, NULL);
}
