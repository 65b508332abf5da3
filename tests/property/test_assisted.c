/* SPDX-License-Identifier: MIT */
/* The CPU path against the path off, for every shape, cache and share: the same output (on the cpu
 * backend, whose kernels it shares, the same bits), and counters that add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/fixture.h"

#define STEPS 3
#define CASES 60

typedef struct outcome {
	uint64_t uses, misses, cpu_uses, cpu_rows, device_rows, cpu_bytes, expert_bytes;
} outcome;

#define ELEMENTS (120 * 70) /* of the largest shape */

static float outputs[STEPS][ELEMENTS]; /* with the path off */

/* Keeps the outputs of the path off; compares those of the path on. */
static outcome run_steps(const fixture_config *c, const char *what)
{
	fixture f;
	outcome out = {0};
	ufm_engine_info info = {.struct_size = sizeof info};
	if (fixture_open(&f, c) != UFM_OK)
		fail_msg("%s: open: %s", what, ufm_last_error());
	for (uint64_t step = 0; step < STEPS; step++) {
		if (fixture_run(&f, step) != UFM_OK)
			fail_msg("%s: %s", what, ufm_last_error());
		if (!c->cpu_assist)
			memcpy(outputs[step], f.y, (size_t)f.c.tokens * f.c.d_model * sizeof *f.y);
		else if (!fixture_agrees(&f, outputs[step]))
			fail_msg("%s: other output in step %llu", what, (unsigned long long)step);
	}
	int line = fixture_identities(&f);
	if (line)
		fail_msg("%s: identity at line %d", what, line);
	ufm_engine_get_info(f.engine, &info);
	out.uses = fixture_counter(&f, "uses");
	out.misses = out.uses - fixture_counter(&f, "resident_uses");
	out.cpu_uses = fixture_counter(&f, "cpu_uses");
	out.cpu_rows = fixture_counter(&f, "cpu_rows");
	out.device_rows = fixture_counter(&f, "fp32_rows");
	out.cpu_bytes = fixture_counter(&f, "cpu_weight_bytes");
	out.expert_bytes = info.expert_bytes;
	assert_int_equal(fixture_counter(&f, "failed_uses"), 0);
	fixture_close(&f);
	return out;
}

static fixture_config random_case(uint64_t seed)
{
	static const char *const policies[] = {"lru", "fifo", "freq"};
	static const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	fixture_config c = {.seed = seed};
	rng r;
	rng_seed(&r, seed);
	c.layers = 1 + rng_below(&r, 3);
	c.experts = 3 + rng_below(&r, 30);
	c.d_model = 1 + rng_below(&r, 70);
	c.d_hidden = 1 + rng_below(&r, 90);
	c.top_k = 1 + rng_below(&r, c.experts < 6 ? c.experts : 6);
	c.tokens = 1 + rng_below(&r, rng_below(&r, 2) ? 5 : 120);
	c.max_tokens = rng_below(&r, 3) ? c.tokens : 1 + rng_below(&r, c.tokens);
	c.kind = kinds[rng_below(&r, 3)];
	c.dtype = rng_below(&r, 2) ? UFM_BF16 : UFM_F32;
	c.policy = policies[rng_below(&r, 3)];
	c.slots_max = 2 + rng_below(&r, c.experts);
	c.no_residual = rng_below(&r, 2);
	return c;
}

static void check_counts(const outcome *o, const fixture_config *c, const char *what)
{
	if (o->cpu_uses > o->misses || o->cpu_rows < o->cpu_uses ||
	    o->cpu_bytes != o->cpu_uses * o->expert_bytes)
		fail_msg("%s: %llu of %llu misses, %llu rows, %llu bytes", what,
		         (unsigned long long)o->cpu_uses, (unsigned long long)o->misses,
		         (unsigned long long)o->cpu_rows, (unsigned long long)o->cpu_bytes);
	assert_int_equal(o->device_rows + o->cpu_rows, STEPS * c->layers * c->tokens * c->top_k);
	if (c->cpu_share_percent == 100)
		assert_int_equal(o->cpu_uses, o->misses);
}

static void same_output_with_the_path_on(void **state)
{
	(void)state;
	static const uint32_t shares[] = {0, 1, 33, 50, 100};
	uint64_t computed = 0, streamed = 0;
	for (uint64_t seed = 0; seed < CASES; seed++) {
		fixture_config c = random_case(seed);
		outcome want = run_steps(&c, "off");
		assert_int_equal(want.cpu_uses, 0);
		for (uint32_t i = 0; i < 5; i++) {
			char what[64];
			c.cpu_assist = UFM_CPU_ON;
			c.cpu_threads = 1 + (uint32_t)(seed + i) % 3;
			c.cpu_share_percent = shares[i];
			snprintf(what, sizeof what, "seed %llu, share %u", (unsigned long long)seed, shares[i]);
			outcome got = run_steps(&c, what);
			check_counts(&got, &c, what);
			computed += got.cpu_uses;
			streamed += got.misses - got.cpu_uses;
		}
	}
	assert_true(computed > CASES && streamed > CASES); /* both paths ran */
}

/* One layer that demands every expert each step: the misses are known, and so is their half. */
static void a_fixed_share_is_kept(void **state)
{
	(void)state;
	static const uint32_t shares[] = {1, 10, 25, 50, 75, 99, 100};
	for (uint32_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		fixture f;
		fixture_config c = {.experts = 17,
		                    .top_k = 17,
		                    .tokens = 3,
		                    .slots_max = 6,
		                    .cpu_assist = UFM_CPU_ON,
		                    .cpu_threads = 2,
		                    .cpu_share_percent = shares[i]};
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		for (uint64_t step = 0; step < 4; step++) {
			uint64_t before = fixture_counter(&f, "cpu_uses");
			uint64_t resident = fixture_counter(&f, "resident_uses");
			assert_int_equal(fixture_run(&f, step), UFM_OK);
			uint64_t misses = 17 - (fixture_counter(&f, "resident_uses") - resident);
			assert_int_equal(fixture_counter(&f, "cpu_uses") - before, misses * shares[i] / 100);
		}
		assert_int_equal(fixture_identities(&f), 0);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_output_with_the_path_on),
		cmocka_unit_test(a_fixed_share_is_kept),
	};
	return cmocka_run_group_tests_name("assisted", tests, NULL, NULL);
}
