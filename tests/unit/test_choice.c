/* SPDX-License-Identifier: MIT */
/* Which way calls of a size take: first looks, the cheaper way, and looking again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "assist/choice.h"
#include "base/rng.h"

#define CALL_NS 50e3

static void sizes_are_octaves(void **state)
{
	static const struct {
		uint32_t tokens, size;
	} cases[] = {{1, 0}, {2, 1}, {3, 1}, {4, 2}, {7, 2}, {8, 3}, {8192, 13}, {UINT32_MAX, 15}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(choice_size_of(cases[i].tokens), cases[i].size);
		assert_true(choice_tokens_from(cases[i].size) <= cases[i].tokens);
	}
	assert_false(choice_is_long(choice_size_of(16)));
	assert_true(choice_is_long(choice_size_of(32)));
}

/* Looks at calls of which some miss, and where a miss costs cpu_ns or link_ns; returns how many used the CPU. */
static uint32_t looks(choice *c, uint32_t size, rng *r, uint32_t n, double cpu_ns, double link_ns)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < n; i++) {
		bool cpu = choice_ask(c, size);
		choice_look look = {.calls = 192, .misses = 20 + rng_below(r, 60)};
		look.ns = look.calls * CALL_NS +
		          look.misses * (cpu ? cpu_ns : link_ns) * (0.9 + 0.2 * rng_unit(r));
		used += cpu;
		(void)choice_learn(c, size, cpu, &look, CALL_NS);
	}
	return used;
}

/* However different the demand of one look is from that of the next. */
static void the_cheaper_way_is_found_and_kept(void **state)
{
	choice c;
	rng r;
	(void)state;
	memset(&c, 0, sizeof c);
	rng_seed(&r, 1);
	uint32_t cpu = looks(&c, 0, &r, 1000, 100e3, 200e3);
	assert_true(cpu >= 980 && cpu < 1000); /* the other way is looked at now and then */
	cpu = looks(&c, 13, &r, 1000, 1100e3, 1000e3);
	assert_true(cpu <= 60 && cpu > 0); /* sizes do not know of each other */
	assert_true(c.sizes[0].takes_cpu);
	assert_false(c.sizes[13].takes_cpu);
	double cost_ns = choice_miss_ns(&c.sizes[0].cpu, CALL_NS);
	assert_true(cost_ns > 90e3 && cost_ns < 110e3);
}

/* Two looks at each way of short calls and five of long ones; one of the link where a short call costs over twice as
 * much there. */
static void both_ways_are_looked_at_first(void **state)
{
	static const struct {
		uint32_t size, looks, used;
		double link_misses;
	} cases[] = {{0, 4, 2, 6}, {13, 10, 5, 6}, {0, 3, 2, 4}, {13, 10, 5, 4}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		choice c;
		uint32_t used = 0;
		memset(&c, 0, sizeof c);
		for (uint32_t n = 0; n < cases[i].looks; n++) {
			assert_false(c.sizes[cases[i].size].known);
			bool cpu = choice_ask(&c, cases[i].size);
			choice_look look = {.ns = 1e6, .calls = 1, .misses = cpu ? 10 : cases[i].link_misses};
			used += cpu;
			(void)choice_learn(&c, cases[i].size, cpu, &look, 0);
		}
		assert_int_equal(used, cases[i].used);
		assert_true(c.sizes[cases[i].size].known && c.sizes[cases[i].size].takes_cpu);
		assert_true(choice_ask(&c, cases[i].size));
	}
}

/* A look at so many misses, each of which takes the link 100, and took so long with the CPU or without. */
static void look_at(choice *c, uint32_t size, bool cpu, double miss_ns)
{
	choice_look look = {.ns = 10 * miss_ns, .calls = 1, .misses = 10, .floor_ns = 1000};
	(void)choice_learn(c, size, cpu, &look, 0);
}

/* Two looks with the CPU that take clearly less than the link must say all, for ever; else the link is looked at. */
static void what_the_link_must_take_says_enough(void **state)
{
	static const uint32_t sizes[] = {0, 13};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		choice c;
		memset(&c, 0, sizeof c);
		for (uint32_t n = 0; n < 10000; n++) {
			assert_true(choice_ask(&c, sizes[i]));
			look_at(&c, sizes[i], true, 79);
			assert_int_equal(c.sizes[sizes[i]].takes_cpu, n >= 1);
		}
		assert_int_equal(c.changes, 1);
		memset(&c, 0, sizeof c);
		for (uint32_t n = 0; n < (i ? 5 : 2); n++) {
			assert_true(choice_ask(&c, sizes[i]));
			look_at(&c, sizes[i], true, 81);
		}
		assert_false(choice_ask(&c, sizes[i]));
	}
}

/* The machine became busy: the link is looked at as soon as it may be cheaper, and taken if it is. */
static void what_no_longer_beats_the_link_is_compared(void **state)
{
	choice c;
	uint32_t asked = 0;
	(void)state;
	memset(&c, 0, sizeof c);
	for (; asked < 100; asked++) {
		assert_true(choice_ask(&c, 0));
		look_at(&c, 0, true, 50);
	}
	for (; asked < 120 && choice_ask(&c, 0); asked++)
		look_at(&c, 0, true, 200);
	assert_in_range(asked, 101, 119);
	look_at(&c, 0, false, 110);
	for (uint32_t n = 0; n < 10 && c.sizes[0].takes_cpu; n++)
		look_at(&c, 0, true, 200);
	assert_false(c.sizes[0].takes_cpu);
	assert_int_equal(c.changes, 2);
}

/* Looks until the dearer way is looked at again: more where it is clearly dearer. */
static void what_is_clear_is_left_alone_for_longer(void **state)
{
	static const struct {
		double link_ns;
		uint32_t looks;
	} cases[] = {{1100, 16}, {1300, 128}};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		choice c;
		uint32_t looks = 0;
		memset(&c, 0, sizeof c);
		while (!c.sizes[0].known || choice_ask(&c, 0)) {
			bool cpu = c.sizes[0].known || choice_ask(&c, 0);
			choice_look look = {.ns = cpu ? 1000 : cases[i].link_ns, .calls = 1, .misses = 1};
			looks += c.sizes[0].known;
			(void)choice_learn(&c, 0, cpu, &look, 0);
		}
		assert_int_equal(looks, cases[i].looks - 1);
	}
}

/* A look ends when it has found enough that is much dearer than the other way, whatever calls take besides. */
static void a_dear_look_is_told(void **state)
{
	choice c;
	choice_look look = {.ns = 10 * 100 + 8 * 201, .calls = 10, .misses = 8};
	(void)state;
	memset(&c, 0, sizeof c);
	assert_true(choice_takes_cpu(&c, 0));                   /* nothing is known yet */
	assert_false(choice_is_dear(&c, 0, false, &look, 100)); /* than what? */
	choice_look cheap = {.ns = 20 * 100 + 10 * 100, .calls = 20, .misses = 10};
	(void)choice_learn(&c, 0, true, &cheap, 100);
	assert_true(choice_is_dear(&c, 0, false, &look, 100));
	assert_false(choice_is_dear(&c, 0, true, &look, 100));
	look.ns = 10 * 100 + 8 * 199;
	assert_false(choice_is_dear(&c, 0, false, &look, 100));
	look = (choice_look){.ns = 1e9, .calls = 10, .misses = 7};
	assert_false(choice_is_dear(&c, 0, false, &look, 100));
	c.sizes[0].cpu.sum.ns = 0; /* as if it cost less than nothing */
	look = (choice_look){.ns = 10 * 100 + 1, .calls = 10, .misses = 8};
	assert_true(choice_is_dear(&c, 0, false, &look, 100));
}

static void it_changes_its_mind(void **state)
{
	choice c;
	rng r;
	(void)state;
	memset(&c, 0, sizeof c);
	rng_seed(&r, 2);
	(void)looks(&c, 0, &r, 100, 100e3, 200e3);
	assert_int_equal(c.changes, 1);             /* from not knowing */
	(void)looks(&c, 0, &r, 2000, 300e3, 200e3); /* the machine is another */
	assert_false(c.sizes[0].takes_cpu);
	assert_true(c.changes > 1);
	uint64_t changes = c.changes;
	choice_forget(&c);
	assert_int_equal(c.sizes[0].cpu.looks, 0);
	assert_int_equal(c.changes, changes);
}

/* As quick either way: the cores are left to others. */
static void a_tie_goes_to_the_link(void **state)
{
	choice c;
	choice_look look = {.ns = 1000, .calls = 1, .misses = 1};
	(void)state;
	memset(&c, 0, sizeof c);
	for (uint32_t i = 0; i < 100; i++)
		(void)choice_learn(&c, 1, choice_ask(&c, 1), &look, 0);
	assert_false(c.sizes[1].takes_cpu);
	assert_false(choice_takes_cpu(&c, 1));
}

static void nothing_missed_costs_nothing(void **state)
{
	choice_way way = {0};
	(void)state;
	assert_true(choice_miss_ns(&way, CALL_NS) == 0);
	way.sum = (choice_look){.ns = 1e6, .calls = 10};
	assert_true(choice_miss_ns(&way, CALL_NS) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_octaves),
		cmocka_unit_test(the_cheaper_way_is_found_and_kept),
		cmocka_unit_test(both_ways_are_looked_at_first),
		cmocka_unit_test(what_the_link_must_take_says_enough),
		cmocka_unit_test(what_no_longer_beats_the_link_is_compared),
		cmocka_unit_test(what_is_clear_is_left_alone_for_longer),
		cmocka_unit_test(a_dear_look_is_told),
		cmocka_unit_test(it_changes_its_mind),
		cmocka_unit_test(a_tie_goes_to_the_link),
		cmocka_unit_test(nothing_missed_costs_nothing),
	};
	return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
