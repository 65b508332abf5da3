/* SPDX-License-Identifier: MIT */
/* What slots would have hit, and how they are dealt to layers by that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "policy/quotas.h"
#include "policy/registry.h"
#include "support/replay.h"

/* ------------------------------------------------------------------ reuse distance */

static void stack_event(reuse_distance *s, const trace *t, uint32_t e)
{
	for (uint32_t i = 0; i < t->events[e].n; i++)
		reuse_distance_use(s, t->members[t->events[e].first + i].expert);
	reuse_distance_end(s, t->events[e].layer);
}

/* Of every capacity that holds the largest event, the stack's hits are those of a cache that uses lru. */
static void test_a_stack_knows_every_lru_cache(void **state)
{
	const uint32_t experts = 13, members_max = 4;
	reuse_distance s;
	trace t;
	rng r;

	(void)state;
	rng_seed(&r, 3);
	trace_random(&t, &r, 1, experts, 2000, members_max, 0.7);
	assert_int_equal(reuse_distance_init(&s, 1, experts), UFM_OK);
	for (uint32_t e = 0; e < t.event_count; e++)
		stack_event(&s, &t, e);
	for (uint32_t slots = members_max; slots <= experts; slots++) {
		float hits = 0;

		for (uint32_t depth = 0; depth < slots; depth++)
			hits += s.found[depth];
		assert_int_equal(hits + 0.5f, replay_trace(&t, &policy_lru, slots, 0, NULL));
	}
	reuse_distance_free(&s);
	trace_free(&t);
}

/* A cache too small for a swept layer keeps as many of it as it has slots. */
static void test_a_sweep_is_worth_every_slot(void **state)
{
	reuse_distance s;

	(void)state;
	assert_int_equal(reuse_distance_init(&s, 2, 5), UFM_OK);
	for (uint32_t event = 0; event < 11; event++) {
		for (uint32_t i = 0; i < 5; i++)
			reuse_distance_use(&s, (i * 2 + event) % 5);
		reuse_distance_end(&s, 1);
	}
	for (uint32_t depth = 0; depth < 5; depth++) {
		assert_true(s.found[5 + depth] == 10.0f);
		assert_true(s.found[depth] == 0.0f);
	}
	reuse_distance_free(&s);
}

static void test_depth_by_worth(void **state)
{
	const float worth[] = {0.0f, 0.5f, 0.9f, 0.5f, 0.1f};
	const float expected[] = {1, 1, 1, 0, 0};
	reuse_distance s;

	(void)state;
	assert_int_equal(reuse_distance_init(&s, 1, 5), UFM_OK);
	for (uint32_t expert = 0; expert < 4; expert++)
		reuse_distance_use(&s, expert);
	/* the first was never expected, whatever the capacity */
	reuse_distance_end_by_worth(&s, 0, worth);
	assert_memory_equal(s.found, expected, sizeof expected);
	reuse_distance_free(&s);
}

/* ------------------------------------------------------------------ quotas */

#define LAYERS 3
#define EXPERTS 12

static uint32_t total(const quotas *q)
{
	uint32_t sum = 0;

	for (uint32_t layer = 0; layer < q->layers; layer++) {
		assert_true(q->quota[layer] >= quotas_floor(q, layer));
		assert_true(q->quota[layer] <= q->experts);
		sum += q->quota[layer];
	}
	return sum;
}

/* An event of one member in each layer, from as many experts as the layer needs, in turn. */
static void turn_round(quotas *q, const uint32_t *needs, uint32_t round)
{
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		quotas_use(q, round % needs[layer]);
		quotas_end(q, layer, NULL);
	}
}

static void turn(quotas *q, const uint32_t *needs, uint32_t rounds)
{
	for (uint32_t round = 0; round < rounds; round++) {
		turn_round(q, needs, round);
		assert_int_equal(total(q), q->slots);
	}
}

static void test_the_equal_split(void **state)
{
	quotas q;

	(void)state;
	assert_int_equal(quotas_init(&q, LAYERS, EXPERTS), UFM_OK);
	for (uint32_t slots = 0; slots <= LAYERS * EXPERTS + 2; slots++) {
		quotas_resize(&q, slots);
		assert_int_equal(total(&q), slots < LAYERS * EXPERTS ? slots : LAYERS * EXPERTS);
		assert_true(q.quota[0] - q.quota[LAYERS - 1] <= 1);
	}
	quotas_free(&q);
}

/* A layer that goes round nine experts hits nothing with fewer slots than nine: one slot more gains
 * nothing, five more gain all. */
static void test_a_cliff_is_climbed(void **state)
{
	const uint32_t needs[LAYERS] = {1, 9, 2};
	quotas q;

	(void)state;
	assert_int_equal(quotas_init(&q, LAYERS, EXPERTS), UFM_OK);
	quotas_resize(&q, 12);
	turn(&q, needs, 1000);
	assert_int_equal(q.quota[0], 1);
	assert_int_equal(q.quota[1], 9);
	assert_int_equal(q.quota[2], 2);
	quotas_free(&q);
}

/* Another number of slots is dealt equally, and then divided again. */
static void test_slots_that_come_and_go(void **state)
{
	const uint32_t needs[LAYERS] = {1, 9, 2};
	quotas q;

	(void)state;
	assert_int_equal(quotas_init(&q, LAYERS, EXPERTS), UFM_OK);
	quotas_resize(&q, 12);
	turn(&q, needs, 1000);
	quotas_resize(&q, 13);
	for (uint32_t layer = 0; layer < LAYERS; layer++)
		assert_int_equal(q.quota[layer], quotas_equal(&q, layer));
	turn(&q, needs, 1000);
	assert_true(q.quota[1] >= 9);
	quotas_free(&q);
}

/* Layers that change their needs: the quotas fell behind the equal split, which comes back at once. */
static void test_what_misled_is_forgotten(void **state)
{
	const uint32_t before[LAYERS] = {9, 1, 2}, after[LAYERS] = {1, 9, 4};
	bool equal = false;
	quotas q;

	(void)state;
	assert_int_equal(quotas_init(&q, LAYERS, EXPERTS), UFM_OK);
	quotas_resize(&q, 12);
	turn(&q, before, 300);
	assert_int_equal(q.quota[0], 9);
	assert_true(q.won > q.lost && q.caution == 0);
	for (uint32_t round = 0; round < 1000; round++) {
		turn_round(&q, after, round);
		equal = equal || q.caution > 0;
	}
	assert_true(equal);
	assert_int_equal(q.quota[0], 1);
	assert_true(q.quota[1] >= 7);
	quotas_free(&q);
}

/* Layers that are alike keep nearly alike quotas, whatever probability makes of their counts. */
static void test_alike_layers_stay_alike(void **state)
{
	quotas q;
	rng r;

	(void)state;
	rng_seed(&r, 5);
	assert_int_equal(quotas_init(&q, LAYERS, EXPERTS), UFM_OK);
	quotas_resize(&q, 18);
	for (uint32_t event = 0; event < 30000; event++) {
		quotas_use(&q, rng_below(&r, EXPERTS));
		quotas_end(&q, event % LAYERS, NULL);
		assert_int_equal(total(&q), 18);
	}
	for (uint32_t layer = 0; layer < LAYERS; layer++)
		assert_true(q.quota[layer] >= 5 && q.quota[layer] <= 7);
	quotas_free(&q);
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
		quotas q;

		alloc_set_hook(refuse_after, &left);
		status = quotas_init(&q, LAYERS, EXPERTS);
		alloc_set_hook(NULL, NULL);
		if (!status)
			quotas_free(&q);
		else
			assert_true(!q.quota && !q.distance.order);
	}
	assert_true(granted > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stack_knows_every_lru_cache),
		cmocka_unit_test(test_a_sweep_is_worth_every_slot),
		cmocka_unit_test(test_depth_by_worth),
		cmocka_unit_test(test_the_equal_split),
		cmocka_unit_test(test_a_cliff_is_climbed),
		cmocka_unit_test(test_slots_that_come_and_go),
		cmocka_unit_test(test_what_misled_is_forgotten),
		cmocka_unit_test(test_alike_layers_stay_alike),
		cmocka_unit_test(test_every_allocation_may_fail),
	};

	return cmocka_run_group_tests_name("quotas", tests, NULL, NULL);
}
