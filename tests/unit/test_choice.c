/* SPDX-License-Identifier: MIT */
/* Which way a call takes: sizes, first tries, the quicker way, and looking again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "assist/choice.h"
#include "base/rng.h"

static void sizes_are_octaves(void **state)
{
	static const struct {
		uint32_t tokens, misses, t, m;
	} cases[] = {{1, 1, 0, 0},   {2, 2, 1, 1},  {3, 3, 1, 2},     {4, 4, 2, 2},
	             {7, 5, 2, 3},   {8, 8, 3, 3},  {8192, 9, 13, 4}, {UINT32_MAX, UINT32_MAX, 15, 7},
	             {16, 64, 4, 6}, {16, 65, 4, 7}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		choice_key key = choice_key_of(cases[i].tokens, cases[i].misses);
		assert_int_equal(key.tokens, cases[i].t);
		assert_int_equal(key.misses, cases[i].m);
		assert_true(choice_tokens_from(key.tokens) <= cases[i].tokens);
		assert_true(choice_misses_from(key.misses) <= cases[i].misses);
	}
}

/* Calls that take cpu_ns or link_ns, give or take a fifth; returns how many used the CPU. */
static uint32_t calls(choice *c, choice_key key, rng *r, uint32_t n, double cpu_ns, double link_ns)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < n; i++) {
		bool cpu = choice_ask(c, key);
		double ns = (cpu ? cpu_ns : link_ns) * (0.8 + 0.4 * rng_unit(r));
		used += cpu;
		(void)choice_learn(c, key, cpu, (uint64_t)ns);
	}
	return used;
}

static void the_quicker_way_is_found_and_kept(void **state)
{
	choice c;
	rng r;
	choice_key one = choice_key_of(1, 1), many = choice_key_of(8192, 80);
	(void)state;
	memset(&c, 0, sizeof c);
	rng_seed(&r, 1);
	uint32_t cpu = calls(&c, one, &r, 1000, 100e3, 200e3);
	assert_true(cpu >= 970 && cpu < 1000); /* the other way is looked at now and then */
	cpu = calls(&c, many, &r, 1000, 1100e3, 1000e3);
	assert_true(cpu <= 60 && cpu > 0); /* sizes do not know of each other */
	assert_true(c.sizes[one.tokens][one.misses].takes_cpu);
	assert_false(c.sizes[many.tokens][many.misses].takes_cpu);
}

static void it_changes_its_mind(void **state)
{
	choice c;
	rng r;
	choice_key key = choice_key_of(1, 1);
	(void)state;
	memset(&c, 0, sizeof c);
	rng_seed(&r, 2);
	(void)calls(&c, key, &r, 400, 100e3, 200e3);
	uint64_t changes = c.changes;
	assert_int_equal(changes, 1);                  /* from not knowing */
	(void)calls(&c, key, &r, 20000, 300e3, 200e3); /* the machine is another */
	assert_false(c.sizes[0][0].takes_cpu);
	assert_true(c.changes > changes);
	choice_forget(&c);
	assert_int_equal(c.sizes[0][0].cpu.calls, 0);
}

/* A call in which the machine was away for a second counts like a slow one. */
static void one_outlier_changes_nothing(void **state)
{
	choice c;
	rng r;
	choice_key key = choice_key_of(2, 3);
	(void)state;
	memset(&c, 0, sizeof c);
	rng_seed(&r, 3);
	(void)calls(&c, key, &r, 200, 100e3, 200e3);
	assert_false(choice_learn(&c, key, true, 1000000000));
	assert_true(c.sizes[key.tokens][key.misses].takes_cpu);
}

/* As quick either way: the cores are left to others. */
static void a_tie_goes_to_the_link(void **state)
{
	choice c;
	choice_key key = choice_key_of(1, 2);
	(void)state;
	memset(&c, 0, sizeof c);
	for (uint32_t i = 0; i < 100; i++)
		(void)choice_learn(&c, key, choice_ask(&c, key), 1000);
	assert_false(c.sizes[key.tokens][key.misses].takes_cpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_octaves),
		cmocka_unit_test(the_quicker_way_is_found_and_kept),
		cmocka_unit_test(it_changes_its_mind),
		cmocka_unit_test(one_outlier_changes_nothing),
		cmocka_unit_test(a_tie_goes_to_the_link),
	};
	return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
