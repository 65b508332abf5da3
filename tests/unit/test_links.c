/* SPDX-License-Identifier: MIT */
/* Nearness learnt from company. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "policy/links.h"

#define EXPERTS_MAX 40

/* And what is told as a prospect is as near. */
static void end_event(links *l, uint32_t layer, const float *chance, const uint32_t *members,
                      uint32_t n)
{
	float prospect[EXPERTS_MAX];

	assert_true(l->experts <= EXPERTS_MAX);
	for (uint32_t i = 0; i < n; i++)
		links_use(l, members[i]);
	links_update(l, layer, chance, prospect);
	for (uint32_t i = 0; i < l->experts; i++)
		assert_true(prospect[i] == links_to_chance(links_nearness(l, layer)[i]));
}

static void fill(float *chance, float value)
{
	for (uint32_t i = 0; i < EXPERTS_MAX; i++)
		chance[i] = value;
}

/* Of two experts with the same chance, always, the one is wanted just after expert 0. */
static void test_company_is_learnt(void **state)
{
	float chance[EXPERTS_MAX];
	uint32_t herald = 0, follower = 1, stranger = 2;
	links l;

	(void)state;
	fill(chance, 0.25f);
	assert_int_equal(links_init(&l, 2, 4), UFM_OK);
	for (uint32_t round = 0; round < 400; round++) {
		end_event(&l, 1, chance, &herald, 1);
		end_event(&l, 1, chance, &follower, 1);
		end_event(&l, 1, chance, &stranger, 1);
	}
	end_event(&l, 1, chance, &herald, 1);
	assert_true(links_nearness(&l, 1)[follower] > 0.9f);
	assert_true(links_nearness(&l, 1)[stranger] < links_nearness(&l, 1)[follower]);
	/* an event later it is the stranger that comes next */
	end_event(&l, 1, chance, &follower, 1);
	assert_true(links_nearness(&l, 1)[stranger] > 0.9f);
	assert_true(links_nearness(&l, 1)[follower] < links_nearness(&l, 1)[stranger]);
	/* the other layer learnt nothing */
	end_event(&l, 0, chance, &herald, 1);
	assert_true(links_nearness(&l, 0)[follower] == links_nearness(&l, 0)[stranger]);
	links_free(&l);
}

/* A follower comes in two events, whoever comes in between: then its herald is remembered. */
static void test_the_event_before_speaks_too(void **state)
{
	float chance[EXPERTS_MAX], called = 0.0f, uncalled = 0.0f;
	uint32_t herald = 0, follower = 1;
	links l;
	rng r;

	(void)state;
	rng_seed(&r, 2);
	fill(chance, 0.15f);
	assert_int_equal(links_init(&l, 1, 20), UFM_OK);
	for (uint32_t round = 0; round < 1000; round++) {
		uint32_t between = 2 + rng_below(&r, 18);

		end_event(&l, 0, chance, &between, 1);
		uncalled = links_nearness(&l, 0)[follower];
		end_event(&l, 0, chance, &herald, 1);
		between = 2 + rng_below(&r, 18);
		end_event(&l, 0, chance, &between, 1);
		called = links_nearness(&l, 0)[follower];
		end_event(&l, 0, chance, &follower, 1);
		between = 2 + rng_below(&r, 18);
		end_event(&l, 0, chance, &between, 1);
	}
	/* who had just been used was drawn alike */
	assert_true(called > uncalled + 0.3f);
	links_free(&l);
}

/* What comes in two events is nearer than what comes in three. */
static void test_the_event_after_the_next_counts(void **state)
{
	float chance[EXPERTS_MAX];
	links l;

	(void)state;
	fill(chance, 0.2f);
	assert_int_equal(links_init(&l, 1, 5), UFM_OK);
	for (uint32_t i = 0; i < 5 * 1000 + 1; i++) {
		uint32_t expert = i % 5;

		end_event(&l, 0, chance, &expert, 1);
	}
	for (uint32_t expert = 1; expert < 4; expert++)
		assert_true(links_nearness(&l, 0)[expert] > links_nearness(&l, 0)[expert + 1]);
	links_free(&l);
}

static void test_a_sweep_teaches_nothing(void **state)
{
	const uint32_t counts[] = {1, 7, 8, 9, EXPERTS_MAX};
	uint32_t members[EXPERTS_MAX];
	float chance[EXPERTS_MAX];

	(void)state;
	fill(chance, 1.0f);
	for (uint32_t i = 0; i < EXPERTS_MAX; i++)
		members[i] = i;
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		links l;

		assert_int_equal(links_init(&l, 3, counts[i]), UFM_OK);
		for (uint32_t event = 0; event < 300; event++) {
			end_event(&l, event % 3, chance, members, counts[i]);
			for (uint32_t expert = 0; expert < counts[i]; expert++)
				assert_true(links_nearness(&l, event % 3)[expert] == 1.0f);
		}
		links_free(&l);
	}
}

/* Whatever comes, also an event without members, nearness lies between 0 and 1. */
static void test_nearness_is_bounded(void **state)
{
	float chance[EXPERTS_MAX];
	links l;
	rng r;

	(void)state;
	rng_seed(&r, 7);
	assert_int_equal(links_init(&l, 1, EXPERTS_MAX - 1), UFM_OK);
	for (uint32_t event = 0; event < 5000; event++) {
		uint32_t members[EXPERTS_MAX], n = rng_below(&r, EXPERTS_MAX), first = rng_below(&r, 39);

		for (uint32_t i = 0; i < EXPERTS_MAX - 1; i++)
			chance[i] = (float)rng_unit(&r) * 1.2f;
		for (uint32_t i = 0; i < n; i++)
			members[i] = (first + i) % (EXPERTS_MAX - 1);
		end_event(&l, 0, chance, members, n);
		for (uint32_t i = 0; i < EXPERTS_MAX - 1; i++) {
			float nearness = links_nearness(&l, 0)[i];

			assert_true(nearness >= 0.0f && nearness <= 1.0f);
		}
	}
	links_free(&l);
}

static void test_chance_and_back(void **state)
{
	(void)state;
	assert_true(links_of_chance(1.0f) == 1.0f && links_to_chance(1.0f) == 1.0f);
	assert_true(links_of_chance(0.0f) == 0.0f && links_to_chance(0.0f) == 0.0f);
	for (float chance = 0.01f; chance < 1.0f; chance += 0.01f) {
		assert_true(links_of_chance(chance) > chance);
		assert_true(fabsf(links_to_chance(links_of_chance(chance)) - chance) < 1e-5f);
	}
}

/* More experts than links can be kept for: nearness follows from the chance. */
static void test_too_many_experts(void **state)
{
	uint32_t experts = 8200;
	float *chance = alloc_zeroed(experts, sizeof *chance);
	float *prospect = alloc_zeroed(experts, sizeof *prospect);
	links l;

	(void)state;
	assert_true(chance && prospect);
	assert_int_equal(links_init(&l, 1, experts), UFM_OK);
	assert_true(l.back == 0 && !l.weight);
	chance[5] = 0.5f;
	chance[6] = 0.6f;
	for (uint32_t event = 0; event < 10; event++) {
		links_use(&l, 0);
		links_update(&l, 0, chance, prospect);
	}
	assert_true(prospect[5] < prospect[6] && prospect[5] > 0.4f);
	assert_true(prospect[7] == 0.0f);
	links_free(&l);
	alloc_free(chance);
	alloc_free(prospect);
}

/* Half as many links: only the current event's members speak, and they do. */
static void test_many_experts(void **state)
{
	uint32_t experts = 3000, pair[2] = {2999, 1500};
	float *chance = alloc_zeroed(experts, sizeof *chance);
	float *prospect = alloc_zeroed(experts, sizeof *prospect);
	links l;

	(void)state;
	assert_true(chance && prospect);
	assert_int_equal(links_init(&l, 1, experts), UFM_OK);
	assert_int_equal(l.back, 1);
	for (uint32_t event = 0; event < 600; event++) {
		links_use(&l, pair[event % 2]);
		links_update(&l, 0, chance, prospect);
	}
	/* the last was 1500 */
	assert_true(prospect[2999] > 0.5f && prospect[1500] < prospect[2999]);
	links_free(&l);
	alloc_free(chance);
	alloc_free(prospect);
}

static bool refuse_after(void *ctx, size_t size_bytes)
{
	int *left = ctx;

	(void)size_bytes;
	return (*left)-- > 0;
}

static void test_every_allocation_may_fail(void **state)
{
	ufm_status status = UFM_ENOMEM;
	int granted = 0;

	(void)state;
	for (; status; granted++) {
		int left = granted;
		links l;

		alloc_set_hook(refuse_after, &left);
		status = links_init(&l, 2, 9);
		alloc_set_hook(NULL, NULL);
		if (status)
			assert_null(l.weight);
		links_free(&l);
	}
	assert_true(granted > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_company_is_learnt),
		cmocka_unit_test(test_the_event_before_speaks_too),
		cmocka_unit_test(test_the_event_after_the_next_counts),
		cmocka_unit_test(test_a_sweep_teaches_nothing),
		cmocka_unit_test(test_nearness_is_bounded),
		cmocka_unit_test(test_chance_and_back),
		cmocka_unit_test(test_too_many_experts),
		cmocka_unit_test(test_many_experts),
		cmocka_unit_test(test_every_allocation_may_fail),
	};

	return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
