/* SPDX-License-Identifier: MIT */
/* How choosy admission is: free without terms, choosy with them, closed when the link does not keep up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "schedule/admit.h"

/* A call that misses so many, of which the last `kept` are kept. Gives the bar for those that are copied later. */
static float call(admit *a, uint32_t misses, uint32_t kept)
{
	admit_turn turn = admit_call(a, misses, 0);
	float bar = turn.bar;
	for (uint32_t i = 0; i < misses; i++) {
		assert_true(admit_bar(&turn) == (i < turn.brought ? 1 : bar));
		admit_placed(&turn, i >= misses - kept);
	}
	admit_end(a, &turn);
	return bar;
}

static void without_terms_everything_is_admitted(void **state)
{
	admit a;
	(void)state;
	admit_open(&a, &(admit_terms){0});
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(call(&a, i, i) == 1);
	assert_true(a.owed_ns == 0);
}

static void a_free_turn_owes_nothing(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 10};
	admit a;
	admit_turn turn = admit_freely();
	(void)state;
	admit_open(&a, &terms);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_true(admit_bar(&turn) == 1);
		admit_placed(&turn, true);
	}
	admit_end(&a, &turn);
	assert_true(a.owed_ns == 0);
}

/* A copy takes as long as two calls, of which half miss one that is kept: the link falls behind. */
static void none_is_kept_while_the_link_owes_too_much(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 90, .call_ns = 0};
	uint32_t closed = 0;
	admit a;
	(void)state;
	admit_open(&a, &terms);
	for (uint32_t i = 0; i < 2000; i++) {
		double before_ns = fmax(0, a.owed_ns - 90 * (i % 2));
		float bar = call(&a, i % 2, i % 2);
		assert_true(bar == (before_ns > 16 * 200 ? 0 : ADMIT_BAR));
		closed += bar == 0;
	}
	assert_true(closed > 0);
	for (uint32_t i = 0; i < 60000; i++)
		(void)call(&a, 1, 0); /* nothing more is kept */
	assert_true(a.owed_ns == 0 && call(&a, 1, 0) == ADMIT_BAR);
}

/* What the link brings for the layers themselves is admitted without a debt; but where it is always wanted there
 * is no time for copies that can wait. */
static void the_links_share_is_free_and_nothing_else(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 100};
	admit a;
	(void)state;
	admit_open(&a, &terms);
	for (uint32_t i = 0; i < 4000;
	     i++) { /* of six misses the link brings two, and these are kept */
		admit_turn turn = admit_call(&a, 6, 0);
		assert_int_equal(turn.brought, 2);
		for (uint32_t j = 0; j < 6; j++)
			admit_placed(&turn, j < 2);
		admit_end(&a, &turn);
	}
	assert_true(a.owed_ns == 0);
	for (uint32_t i = 0; i < 4000; i++)
		(void)call(&a, 6, 1);
	assert_true(call(&a, 6, 0) == 0);
}

static void a_link_that_keeps_up_is_never_closed(void **state)
{
	const admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 300};
	admit a;
	(void)state;
	admit_open(&a, &terms);
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(call(&a, 1, 1) == ADMIT_BAR);
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
		assert_true(call(&a, misses, misses / 2) == call(&b, misses, misses / 2));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_terms_everything_is_admitted),
		cmocka_unit_test(a_free_turn_owes_nothing),
		cmocka_unit_test(none_is_kept_while_the_link_owes_too_much),
		cmocka_unit_test(the_links_share_is_free_and_nothing_else),
		cmocka_unit_test(a_link_that_keeps_up_is_never_closed),
		cmocka_unit_test(the_bar_is_repeatable),
	};
	return cmocka_run_group_tests_name("admit", tests, NULL, NULL);
}
