/* SPDX-License-Identifier: MIT */
/* Limits of a step against figures computed by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replay/limit.h"

/* One layer, one expert a token. */
static trace routing_of(uint16_t *ids, uint64_t tokens)
{
	static uint64_t starts[2];
	starts[1] = tokens;
	return (trace){.tokens = tokens,
	               .layers = 1,
	               .ranks = 1,
	               .experts = 4,
	               .sequences = 1,
	               .ids = ids,
	               .starts = starts};
}

static void near(double found, double expected)
{
	if (!(fabs(found - expected) <= 1e-9 * fabs(expected)))
		fail_msg("%.12g, expected %.12g", found, expected);
}

static double reads_of(const limit_run *run)
{
	double reads = -1;
	assert_int_equal(limit_reads(run, &reads), UFM_OK);
	return reads;
}

/* a b a c a b: with two slots c passes by, with one slot all but a. */
static void bypass_keeps_what_comes_again(void **state)
{
	(void)state;
	uint16_t ids[] = {0, 1, 0, 2, 0, 1};
	trace t = routing_of(ids, 6);
	limit_run run = {.routing = &t, .layers = 1, .experts = 4, .tokens = 1, .slots = 2, .steps = 6};
	near(reads_of(&run), 3.0 / 6);
	run.slots = 1;
	near(reads_of(&run), 4.0 / 6);
	run.slots = 4;
	near(reads_of(&run), 3.0 / 6);
	run.experts = 100; /* of a bank with more than the routing knows */
	run.slots = 100;
	near(reads_of(&run), 3.0 / 6);
}

/* First uses before the measurement are no reads of it. */
static void warmup_fills_the_slots(void **state)
{
	(void)state;
	uint16_t ids[] = {0, 1, 0, 2, 0, 1};
	trace t = routing_of(ids, 6);
	limit_run run = {
		.routing = &t, .layers = 1, .experts = 4, .tokens = 1, .slots = 2, .warmup = 2, .steps = 4};
	near(reads_of(&run), 1.0 / 4);
}

/* a b and again, one token later: a b b a. Either b's second use or a's is a hit of the one slot. */
static void routing_that_ends_is_read_again(void **state)
{
	(void)state;
	uint16_t ids[] = {0, 1};
	trace t = routing_of(ids, 2);
	limit_run run = {.routing = &t, .layers = 1, .experts = 4, .tokens = 1, .slots = 1, .steps = 4};
	near(reads_of(&run), 3.0 / 4);
}

/* a a b b in steps of two. Side by side: {a, b} {a, b} {b, a}, and one of the two stays. One after the other: {a} {b}
 * {a, b}. */
static void order_is_the_workloads(void **state)
{
	(void)state;
	uint16_t ids[] = {0, 0, 1, 1};
	trace t = routing_of(ids, 4);
	limit_run run = {.routing = &t,
	                 .layers = 1,
	                 .experts = 4,
	                 .tokens = 2,
	                 .sequences = 2,
	                 .slots = 1,
	                 .steps = 3};
	near(reads_of(&run), 4.0 / 3);
	run.sequences = 0;
	near(reads_of(&run), 3.0 / 3);
}

/* Two layers with one pool; a run of the first alone reads its own. */
static void layers_share_the_slots(void **state)
{
	(void)state;
	/* layer 0: a a a; layer 1: a b a */
	uint16_t ids[] = {0, 0, 0, 1, 0, 0};
	uint64_t starts[] = {0, 3};
	trace t = {.tokens = 3,
	           .layers = 2,
	           .ranks = 1,
	           .experts = 2,
	           .sequences = 1,
	           .ids = ids,
	           .starts = starts};
	limit_run run = {.routing = &t, .layers = 2, .experts = 2, .tokens = 1, .slots = 2, .steps = 3};
	near(reads_of(&run), 3.0 / 3); /* both layers' a stay, b passes by */
	run.slots = 1;
	near(reads_of(&run), 4.0 / 3); /* layer 0's a alone stays */
	run.layers = 1;
	near(reads_of(&run), 1.0 / 3);
}

static void longer_of_floor_and_reads(void **state)
{
	(void)state;
	/* 2.5 x 9.4e6 bytes at 150 GB/s */
	near(limit_ms(0.1, 2.5, 9.4e6, 150), 2.5 * 9.4e6 / 150e6);
	near(limit_ms(0.2, 2.5, 9.4e6, 150), 0.2);
	near(limit_ms(0.2, 0, 9.4e6, 150), 0.2);
}

static void rate_is_the_best_that_was_probed(void **state)
{
	(void)state;
	near(limit_gbps(55, 49, 101), 150);
	near(limit_gbps(55, 0, 0), 55);
	near(limit_gbps(55, 20, 30), 55);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bypass_keeps_what_comes_again),
		cmocka_unit_test(warmup_fills_the_slots),
		cmocka_unit_test(routing_that_ends_is_read_again),
		cmocka_unit_test(order_is_the_workloads),
		cmocka_unit_test(layers_share_the_slots),
		cmocka_unit_test(longer_of_floor_and_reads),
		cmocka_unit_test(rate_is_the_best_that_was_probed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
