/* SPDX-License-Identifier: MIT */
/* A cache divided among layers, beside caches that share its slots equally. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "policy/divided.h"
#include "policy/registry.h"
#include "support/replay.h"

#define LAYERS 6
#define EXPERTS 16
#define TOP_K 2
#define ROUNDS 6000

/* What the division may lose: of all uses, while it learns that it was misled. */
#define BEHIND_MAX 0.01

static void test_every_policy_for_engines_can_be_divided(void **state)
{
	(void)state;
	for (uint32_t p = 0; policy_at(p); p++) {
		const ufm_policy *inner = policy_at(p), *divided = policy_divided(inner);

		if (inner->flags & UFM_POLICY_OFFLINE) {
			assert_null(divided);
			continue;
		}
		assert_non_null(divided);
		assert_int_equal(strncmp(divided->name, "divided-", 8), 0);
		assert_string_equal(divided->name + 8, inner->name);
		assert_int_equal(divided->flags, UFM_POLICY_MAY_BYPASS);
		divided->destroy(NULL);
	}
	assert_null(policy_divided(NULL));
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
	ufm_policy_config config;
	int granted = 0;

	(void)state;
	UFM_STRUCT_INIT(&config);
	config.layers = 3;
	config.experts = 4;
	config.places = 5;
	for (; status; granted++) {
		void *made = NULL;
		int left = granted;

		alloc_set_hook(refuse_after, &left);
		status = policy_divided(&policy_cycle)->create(&config, &made);
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || (status == UFM_ENOMEM && !made));
		if (!status)
			policy_divided(&policy_cycle)->destroy(made);
	}
	assert_true(granted > 20);
}

/* ------------------------------------------------------------------ workloads */

/* How many of a layer's experts are in use at a round. */
typedef uint32_t needs_of(uint32_t layer, uint32_t round);

static uint32_t alike(uint32_t layer, uint32_t round)
{
	(void)layer;
	(void)round;
	return EXPERTS;
}

static uint32_t unlike(uint32_t layer, uint32_t round)
{
	(void)round;
	return layer % 2 ? EXPERTS : TOP_K + 1;
}

/* Needs that swap suddenly and for long, or as fast as quotas are dealt. */
static uint32_t swapping(uint32_t layer, uint32_t round)
{
	return unlike(layer + round / 1500, round);
}

static uint32_t swapping_fast(uint32_t layer, uint32_t round)
{
	return unlike(layer + round / 130, round);
}

static void make_trace(trace *t, needs_of *needs, bool sweep, uint64_t seed)
{
	uint32_t members = sweep ? EXPERTS : TOP_K;
	rng r;

	rng_seed(&r, seed);
	trace_init(t, LAYERS, EXPERTS, ROUNDS * LAYERS, ROUNDS * LAYERS * members);
	for (uint32_t e = 0; e < ROUNDS * LAYERS; e++) {
		uint32_t n = needs(e % LAYERS, e / LAYERS), first = rng_below(&r, n);

		trace_begin(t, e % LAYERS);
		for (uint32_t i = 0; i < members; i++)
			trace_add(t, sweep ? i : (first + i * (1 + first % 2)) % n);
	}
	trace_link(t);
}

/* Events of one layer, as layer 0 of one. */
static void layer_of(const trace *t, uint32_t layer, trace *out)
{
	trace_init(out, 1, t->experts, t->event_count, t->member_count);
	for (uint32_t e = 0; e < t->event_count; e++) {
		if (t->events[e].layer != layer)
			continue;
		trace_begin(out, 0);
		for (uint32_t i = 0; i < t->events[e].n; i++)
			trace_add(out, t->members[t->events[e].first + i].expert);
	}
	trace_link(out);
}

static double equal_split(const trace *t, const ufm_policy *policy, uint32_t slots)
{
	uint64_t hits = 0;

	for (uint32_t layer = 0; layer < t->layers; layer++) {
		trace one;

		layer_of(t, layer, &one);
		hits += replay_trace(&one, policy, slots / t->layers, 0, NULL);
		trace_free(&one);
	}
	return (double)hits / t->member_count;
}

static void compare(const char *name, needs_of *needs, bool sweep, double ahead)
{
	trace t;

	make_trace(&t, needs, sweep, 11);
	for (uint32_t p = 0; policy_at(p); p++) {
		for (uint32_t each = 2; each <= EXPERTS; each += each < 4 ? 2 : 4) {
			const ufm_policy *inner = policy_at(p);
			double equal, divided;

			if (inner->flags & UFM_POLICY_OFFLINE)
				continue;
			equal = equal_split(&t, inner, each * LAYERS);
			divided = (double)replay_trace(&t, policy_witness(policy_divided(inner)), each * LAYERS,
			                               0, NULL) /
			          t.member_count;
			print_message("%s, %s, %u slots a layer: equal %.4f, divided %.4f\n", name, inner->name,
			              each, equal, divided);
			assert_true(divided > equal - BEHIND_MAX);
			if (each == 8)
				assert_true(divided > equal + ahead);
		}
	}
	trace_free(&t);
}

static void test_layers_with_unlike_needs(void **state)
{
	(void)state;
	compare("unlike", unlike, false, 0.05);
	compare("swapping", swapping, false, 0.01);
}

static void test_nothing_is_lost_where_nothing_can_be_won(void **state)
{
	(void)state;
	compare("alike", alike, false, -BEHIND_MAX);
	compare("swapping fast", swapping_fast, false, -BEHIND_MAX);
}

static void test_a_sweep(void **state)
{
	(void)state;
	compare("sweep", alike, true, -BEHIND_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_policy_for_engines_can_be_divided),
		cmocka_unit_test(test_every_allocation_may_fail),
		cmocka_unit_test(test_layers_with_unlike_needs),
		cmocka_unit_test(test_nothing_is_lost_where_nothing_can_be_won),
		cmocka_unit_test(test_a_sweep),
	};

	return cmocka_run_group_tests_name("divided", tests, NULL, NULL);
}
