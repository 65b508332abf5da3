/* SPDX-License-Identifier: MIT */
/* Layers that demand all of their experts at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "policy/registry.h"
#include "support/replay.h"

static void shuffle(rng *r, cache_member *members, uint32_t n)
{
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = rng_below(r, i);
		cache_member kept = members[i - 1];

		members[i - 1] = members[j];
		members[j] = kept;
	}
}

static void sweep_layer(const ufm_policy *policy, uint32_t experts, uint32_t slots, uint32_t ring)
{
	cache_config config = {
		.slots = slots, .ring = ring, .layers = 1, .experts = experts, .policy = policy};
	cache_member members[200];
	uint32_t expected = slots < experts ? slots : experts;
	const char *why;
	cache *c;
	rng r;

	rng_seed(&r, experts * 1000 + slots);
	for (uint32_t i = 0; i < experts; i++)
		members[i] = (cache_member){.expert = i, .tokens = 1, .next_event = UFM_NEVER};
	assert_int_equal(cache_open(&config, &c), UFM_OK);
	for (uint32_t step = 0; step < 12; step++) {
		uint32_t hits;

		shuffle(&r, members, experts);
		hits = replay_event(c, 0, experts, members, experts);
		assert_true(cache_check(c, &why));
		if (hits != (step ? expected : 0))
			fail_msg("%s: %u experts, %u slots, ring %u, step %u: %u hits, expected %u",
			         policy->name, experts, slots, ring, step, hits, step ? expected : 0);
	}
	cache_close(c);
}

/* Every expert demanded at every step, in any order: as many hits a step as there are slots. */
static void test_a_swept_layer_keeps_every_slot(void **state)
{
	const uint32_t expert_counts[] = {1, 2, 3, 8, 31, 192};

	(void)state;
	for (uint32_t p = 0; policy_at(p); p++) {
		if (policy_at(p)->flags & UFM_POLICY_OFFLINE)
			continue;
		for (size_t i = 0; i < sizeof expert_counts / sizeof expert_counts[0]; i++) {
			uint32_t experts = expert_counts[i];
			const uint32_t slot_counts[] = {1, 2, 3, 5, 9, experts / 2, experts - 1, experts};

			for (size_t j = 0; j < sizeof slot_counts / sizeof slot_counts[0]; j++) {
				for (uint32_t ring = 0; ring <= 5 && slot_counts[j] && ring <= slot_counts[j];
				     ring++)
					sweep_layer(policy_at(p), experts, slot_counts[j], ring);
			}
		}
	}
}

static uint32_t sweep_cycle(cache *c, rng *r, uint32_t layers, uint32_t experts, bool backwards)
{
	cache_member members[64];
	uint32_t hits = 0;

	for (uint32_t i = 0; i < experts; i++)
		members[i] = (cache_member){.expert = i, .tokens = 1, .next_event = UFM_NEVER};
	for (uint32_t i = 0; i < layers; i++) {
		uint32_t layer = backwards ? layers - 1 - i : i;

		shuffle(r, members, experts);
		hits += replay_event(c, layer, experts, members, experts);
	}
	return hits;
}

/* Layers that take one cache in turn, each demanding all of its experts. An LRU gets no hit here.
 * The ring's tenants are those of the layer before, so only the places can hit. The first round goes
 * backwards, so that in the next ones those that wait hold the places. */
static void check_scan_proof(const ufm_policy *policy, uint32_t from)
{
	const uint32_t shapes[][4] = {/* layers, experts, slots, ring */
	                              {2, 5, 6, 2},    {3, 8, 10, 0},    {4, 16, 17, 3},
	                              {12, 31, 40, 4}, {24, 32, 300, 4}, {6, 7, 41, 4}};

	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		cache_config config = {.slots = shapes[i][2],
		                       .ring = shapes[i][3],
		                       .layers = shapes[i][0],
		                       .experts = shapes[i][1],
		                       .policy = policy};
		uint32_t smallest = UINT32_MAX;
		cache *c;
		rng r;

		rng_seed(&r, i);
		assert_int_equal(cache_open(&config, &c), UFM_OK);
		for (uint32_t cycle = 0; cycle < 60; cycle++) {
			uint32_t hits = sweep_cycle(c, &r, config.layers, config.experts, cycle == 0);

			if (cycle >= from && hits < smallest)
				smallest = hits;
		}
		cache_close(c);
		print_message(
			"%s: %u layers of %u experts swept, %u slots, ring %u: at least %u hits a cycle\n",
			policy->name, config.layers, config.experts, config.slots, config.ring, smallest);
		assert_true(smallest >= config.slots - config.ring);
	}
}

static void test_layers_swept_in_turn_flush_nobody(void **state)
{
	(void)state;
	check_scan_proof(&policy_cycle, 3); /* has to learn that the order changed */
	check_scan_proof(&policy_freq, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_swept_layer_keeps_every_slot),
		cmocka_unit_test(test_layers_swept_in_turn_flush_nobody),
	};

	return cmocka_run_group_tests_name("cache sweeps", tests, NULL, NULL);
}
