/* SPDX-License-Identifier: MIT */
/* Discounted reuse learnt from co-activation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "policy/coactivation.h"

#define EXPERTS_MAX 40

/* And what is told as a prospect is as near. */
static void end_event(coactivation *l, uint32_t layer, const float *probability,
                      const uint32_t *members, uint32_t n)
{
	float prospect[EXPERTS_MAX];

	assert_true(l->experts <= EXPERTS_MAX);
	for (uint32_t i = 0; i < n; i++)
		coactivation_use(l, members[i]);
	coactivation_update(l, layer, probability, prospect);
	for (uint32_t i = 0; i < l->experts; i++)
		assert_true(prospect[i] == probability_of_discounted(coactivation_discounted(l, layer)[i]));
}

static void fill(float *probability, float value)
{
	for (uint32_t i = 0; i < EXPERTS_MAX; i++)
		probability[i] = value;
}

/* Of two experts with the same probability, always, the one is wanted just after expert 0. */
static void test_coactivation_is_learnt(void **state)
{
	float probability[EXPERTS_MAX];
	uint32_t herald = 0, follower = 1, stranger = 2;
	coactivation l;

	(void)state;
	fill(probability, 0.25f);
	assert_int_equal(coactivation_init(&l, 2, 4), UFM_OK);
	for (uint32_t round = 0; round < 400; round++) {
		end_event(&l, 1, probability, &herald, 1);
		end_event(&l, 1, probability, &follower, 1);
		end_event(&l, 1, probability, &stranger, 1);
	}
	end_event(&l, 1, probability, &herald, 1);
	assert_true(coactivation_discounted(&l, 1)[follower] > 0.9f);
	assert_true(coactivation_discounted(&l, 1)[stranger] <
	            coactivation_discounted(&l, 1)[follower]);
	/* an event later it is the stranger that comes next */
	end_event(&l, 1, probability, &follower, 1);
	assert_true(coactivation_discounted(&l, 1)[stranger] > 0.9f);
	assert_true(coactivation_discounted(&l, 1)[follower] <
	            coactivation_discounted(&l, 1)[stranger]);
	/* the other layer learnt nothing */
	end_event(&l, 0, probability, &herald, 1);
	assert_true(coactivation_discounted(&l, 0)[follower] ==
	            coactivation_discounted(&l, 0)[stranger]);
	coactivation_free(&l);
}

/* A follower comes in two events, whoever comes in between: then its herald is remembered. */
static void test_the_event_before_speaks_too(void **state)
{
	float probability[EXPERTS_MAX], called = 0.0f, uncalled = 0.0f;
	uint32_t herald = 0, follower = 1;
	coactivation l;
	rng r;

	(void)state;
	rng_seed(&r, 2);
	fill(probability, 0.15f);
	assert_int_equal(coactivation_init(&l, 1, 20), UFM_OK);
	for (uint32_t round = 0; round < 1000; round++) {
		uint32_t between = 2 + rng_below(&r, 18);

		end_event(&l, 0, probability, &between, 1);
		uncalled = coactivation_discounted(&l, 0)[follower];
		end_event(&l, 0, probability, &herald, 1);
		between = 2 + rng_below(&r, 18);
		end_event(&l, 0, probability, &between, 1);
		called = coactivation_discounted(&l, 0)[follower];
		end_event(&l, 0, probability, &follower, 1);
		between = 2 + rng_below(&r, 18);
		end_event(&l, 0, probability, &between, 1);
	}
	/* who had just been used was drawn alike */
	assert_true(called > uncalled + 0.3f);
	coactivation_free(&l);
}

/* What comes in two events is nearer than what comes in three. */
static void test_the_event_after_the_next_counts(void **state)
{
	float probability[EXPERTS_MAX];
	coactivation l;

	(void)state;
	fill(probability, 0.2f);
	assert_int_equal(coactivation_init(&l, 1, 5), UFM_OK);
	for (uint32_t i = 0; i < 5 * 1000 + 1; i++) {
		uint32_t expert = i % 5;

		end_event(&l, 0, probability, &expert, 1);
	}
	for (uint32_t expert = 1; expert < 4; expert++)
		assert_true(coactivation_discounted(&l, 0)[expert] >
		            coactivation_discounted(&l, 0)[expert + 1]);
	coactivation_free(&l);
}

static void test_a_sweep_teaches_nothing(void **state)
{
	const uint32_t counts[] = {1, 7, 8, 9, EXPERTS_MAX};
	uint32_t members[EXPERTS_MAX];
	float probability[EXPERTS_MAX];

	(void)state;
	fill(probability, 1.0f);
	for (uint32_t i = 0; i < EXPERTS_MAX; i++)
		members[i] = i;
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		coactivation l;

		assert_int_equal(coactivation_init(&l, 3, counts[i]), UFM_OK);
		for (uint32_t event = 0; event < 300; event++) {
			end_event(&l, event % 3, probability, members, counts[i]);
			for (uint32_t expert = 0; expert < counts[i]; expert++)
				assert_true(coactivation_discounted(&l, event % 3)[expert] == 1.0f);
		}
		coactivation_free(&l);
	}
}

/* Whatever comes, also an event without members, discounted reuse lies between 0 and 1. */
static void test_discounted_reuse_is_bounded(void **state)
{
	float probability[EXPERTS_MAX];
	coactivation l;
	rng r;

	(void)state;
	rng_seed(&r, 7);
	assert_int_equal(coactivation_init(&l, 1, EXPERTS_MAX - 1), UFM_OK);
	for (uint32_t event = 0; event < 5000; event++) {
		uint32_t members[EXPERTS_MAX], n = rng_below(&r, EXPERTS_MAX), first = rng_below(&r, 39);

		for (uint32_t i = 0; i < EXPERTS_MAX - 1; i++)
			probability[i] = (float)rng_unit(&r) * 1.2f;
		for (uint32_t i = 0; i < n; i++)
			members[i] = (first + i) % (EXPERTS_MAX - 1);
		end_event(&l, 0, probability, members, n);
		for (uint32_t i = 0; i < EXPERTS_MAX - 1; i++) {
			float discounted = coactivation_discounted(&l, 0)[i];

			assert_true(discounted >= 0.0f && discounted <= 1.0f);
		}
	}
	coactivation_free(&l);
}

static void test_chance_and_back(void **state)
{
	(void)state;
	assert_true(discounted_of_probability(1.0f) == 1.0f && probability_of_discounted(1.0f) == 1.0f);
	assert_true(discounted_of_probability(0.0f) == 0.0f && probability_of_discounted(0.0f) == 0.0f);
	for (float probability = 0.01f; probability < 1.0f; probability += 0.01f) {
		assert_true(discounted_of_probability(probability) > probability);
		assert_true(fabsf(probability_of_discounted(discounted_of_probability(probability)) -
		                  probability) < 1e-5f);
	}
}

/* More experts than weights can be kept for: the reuse probability alone decides. */
static void test_too_many_experts(void **state)
{
	uint32_t experts = 8200;
	float *probability = alloc_zeroed(experts, sizeof *probability);
	float *prospect = alloc_zeroed(experts, sizeof *prospect);
	coactivation l;

	(void)state;
	assert_true(probability && prospect);
	assert_int_equal(coactivation_init(&l, 1, experts), UFM_OK);
	assert_true(l.back == 0 && !l.weight);
	probability[5] = 0.5f;
	probability[6] = 0.6f;
	for (uint32_t event = 0; event < 10; event++) {
		coactivation_use(&l, 0);
		coactivation_update(&l, 0, probability, prospect);
	}
	assert_true(prospect[5] < prospect[6] && prospect[5] > 0.4f);
	assert_true(prospect[7] == 0.0f);
	coactivation_free(&l);
	alloc_free(probability);
	alloc_free(prospect);
}

/* Half as many weights: only the current event's members speak, and they do. */
static void test_many_experts(void **state)
{
	uint32_t experts = 3000, pair[2] = {2999, 1500};
	float *probability = alloc_zeroed(experts, sizeof *probability);
	float *prospect = alloc_zeroed(experts, sizeof *prospect);
	coactivation l;

	(void)state;
	assert_true(probability && prospect);
	assert_int_equal(coactivation_init(&l, 1, experts), UFM_OK);
	assert_int_equal(l.back, 1);
	for (uint32_t event = 0; event < 600; event++) {
		coactivation_use(&l, pair[event % 2]);
		coactivation_update(&l, 0, probability, prospect);
	}
	/* the last was 1500 */
	assert_true(prospect[2999] > 0.5f && prospect[1500] < prospect[2999]);
	coactivation_free(&l);
	alloc_free(probability);
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
		coactivation l;

		alloc_set_hook(refuse_after, &left);
		status = coactivation_init(&l, 2, 9);
		alloc_set_hook(NULL, NULL);
		if (status)
			assert_null(l.weight);
		coactivation_free(&l);
	}
	assert_true(granted > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coactivation_is_learnt),
		cmocka_unit_test(test_the_event_before_speaks_too),
		cmocka_unit_test(test_the_event_after_the_next_counts),
		cmocka_unit_test(test_a_sweep_teaches_nothing),
		cmocka_unit_test(test_discounted_reuse_is_bounded),
		cmocka_unit_test(test_chance_and_back),
		cmocka_unit_test(test_too_many_experts),
		cmocka_unit_test(test_many_experts),
		cmocka_unit_test(test_every_allocation_may_fail),
	};

	return cmocka_run_group_tests_name("coactivation", tests, NULL, NULL);
}
