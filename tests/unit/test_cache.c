/* SPDX-License-Identifier: MIT */
/* The cache's rules of placement, one by one. Random sequences are in tests/property. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "cache/cache.h"
#include "policy/registry.h"
#include "support/cache_steps.h"

#define EXPERTS 16

static cache *open_cache(const ufm_policy *policy, uint32_t slots, uint32_t ring)
{
	cache_config config = {
		.slots = slots, .ring = ring, .layers = 2, .experts = EXPERTS, .policy = policy};
	cache *c;

	assert_int_equal(cache_open(&config, &c), UFM_OK);
	return c;
}

/* ------------------------------------------------------------------ opening */

static void test_ring_for(void **state)
{
	(void)state;
	assert_int_equal(cache_ring_for(1, 0), 1);
	assert_int_equal(cache_ring_for(2, 0), 2);
	assert_int_equal(cache_ring_for(3, 0), 2);
	assert_int_equal(cache_ring_for(6, 0), 3);
	assert_int_equal(cache_ring_for(8, 0), 4);
	assert_int_equal(cache_ring_for(100, 0), 4);
	assert_int_equal(cache_ring_for(100, 1), 2);
	assert_int_equal(cache_ring_for(100, 7), 7);
	assert_int_equal(cache_ring_for(9, 7), 4);
}

static void test_bad_configurations(void **state)
{
	cache_config config = {
		.slots = 4, .ring = 2, .layers = 2, .experts = EXPERTS, .policy = &policy_lru};
	cache *c = NULL;

	(void)state;
	config.slots = 0;
	assert_int_equal(cache_open(&config, &c), UFM_EINVAL);
	config.slots = 4;
	config.ring = 5;
	assert_int_equal(cache_open(&config, &c), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "ring is 5, expected at most the 4 slots"));
	config.ring = 2;
	config.experts = 0;
	assert_int_equal(cache_open(&config, &c), UFM_EINVAL);
	config.experts = UINT32_MAX;
	config.layers = UINT32_MAX;
	assert_int_equal(cache_open(&config, &c), UFM_EINVAL);
	config.layers = config.experts = 2;
	config.policy = NULL;
	assert_int_equal(cache_open(&config, &c), UFM_EINVAL);
	assert_null(c);
	cache_close(NULL);
}

static bool refuse_after(void *ctx, size_t size_bytes)
{
	int *left = ctx;

	(void)size_bytes;
	return (*left)-- > 0;
}

static void test_every_allocation_may_fail(void **state)
{
	cache_config config = {
		.slots = 4, .ring = 2, .layers = 2, .experts = EXPERTS, .policy = &policy_freq};
	ufm_status status = UFM_ENOMEM;
	int granted = 0;

	(void)state;
	for (; status; granted++) {
		cache *c = NULL;
		int left = granted;

		alloc_set_hook(refuse_after, &left);
		status = cache_open(&config, &c);
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || (status == UFM_ENOMEM && !c));
		cache_close(c);
	}
	assert_true(granted > 6);
}

/* ------------------------------------------------------------------ rules */

static void test_rule_1_free_main_slots_first(void **state)
{
	cache *c = open_cache(&policy_lru, 5, 2);
	cache_stats stats;

	(void)state;
	for (uint32_t e = 0; e < 3; e++) {
		cache_placement place = demand(c, e);

		assert_true(place.kept);
		assert_int_equal(place.evicted_key, UFM_KEY_NONE);
		assert_int_equal(place.generation, 1);
	}
	cache_get_stats(c, &stats);
	assert_int_equal(stats.free, 2);
	assert_int_equal(stats.ready, 3);
	assert_int_equal(stats.used_high_water, 3);
	cache_close(c);
}

/* The victim's slot joins the ring with its tenant, and is overwritten when the ring comes round. */
static void test_rule_2_labels_swap(void **state)
{
	cache *c = open_cache(&policy_lru, 4, 2);
	cache_placement place;
	uint32_t slot_of_0;

	(void)state;
	demand(c, 0);
	demand(c, 1);
	slot_of_0 = cache_find(c, 0);
	place = demand(c, 2);
	assert_true(place.kept);
	assert_int_equal(place.evicted_key, UFM_KEY_NONE);
	assert_int_equal(cache_find(c, 0), slot_of_0);
	assert_true(slot_of(c, 0).in_ring);
	assert_false(slot_of(c, 2).in_ring);
	demand(c, 3); /* 1 joins the ring */
	place = demand(c, 4);
	assert_int_equal(place.evicted_key, 0);
	assert_int_equal(place.slot, slot_of_0);
	assert_int_equal(place.generation, 2);
	assert_true(slot_of(c, 1).in_ring);
	cache_close(c);
}

static void test_rule_2_declined_newcomers_pass_through(void **state)
{
	cache *c = open_cache(&policy_freq, 4, 2);
	cache_placement place;

	(void)state;
	for (int round = 0; round < 5; round++) {
		demand(c, 0);
		demand(c, 1);
	}
	for (uint32_t e = 2; e < 6; e++) {
		const cache_member event[] = {member(e)};

		cache_event_begin(c, 0, event, 1);
		assert_int_equal(cache_appeal(c, e), 0);
		assert_int_equal(cache_place(c, e, &place), UFM_OK);
		assert_false(place.kept);
		assert_true(slot_of(c, e).in_ring && slot_of(c, e).passing);
		assert_int_equal(place.evicted_key, UFM_KEY_NONE);
		cache_event_end(c, 0, event, 1);
		assert_int_equal(cache_find(c, e), place.slot);
		cache_forget_declined(c, 0, event, 1);
		assert_int_equal(cache_find(c, e), SLOT_NONE);
		check(c);
	}
	assert_false(slot_of(c, 0).in_ring);
	assert_false(slot_of(c, 1).in_ring);
	cache_close(c);
}

/* What the event cannot keep in any case stays in the ring: hits of the next sweep. What is pinned cannot be forgotten. */
static void test_declined_members_stay_in_the_ring(void **state)
{
	cache *c = open_cache(&policy_freq, 4, 2);
	const cache_member sweep[] = {member(0), member(1), member(2), member(3)};
	const cache_member one[] = {member(5)};
	cache_placement place;

	(void)state;
	assert_true(!cache_is_broad(c, sweep, 0) && !cache_is_broad(c, sweep, 2) &&
	            cache_is_broad(c, sweep, 3));
	assert_true(cache_is_broad(c, &(cache_member){.tokens = 2}, 1));
	for (uint32_t step = 0; step < 3; step++) {
		cache_event_begin(c, 0, sweep, 4);
		for (uint32_t e = 0; e < 4; e++) {
			if (cache_find(c, e) == SLOT_NONE)
				assert_int_equal(cache_place(c, e, &place), UFM_OK);
		}
		cache_event_end(c, 0, sweep, 4);
	}
	for (uint32_t e = 0; e < 4; e++)
		assert_true(cache_find(c, e) != SLOT_NONE);
	cache_event_begin(c, 0, one, 1);
	assert_int_equal(cache_place(c, 5, &place), UFM_OK);
	assert_false(place.kept);
	cache_pin(c, place.slot);
	cache_event_end(c, 0, one, 1);
	cache_forget_declined(c, 0, one, 1);
	assert_int_equal(cache_find(c, 5), place.slot);
	cache_unpin(c, place.slot);
	check(c);
	cache_close(c);
}

/* A pinned ring slot and a demanded tenant are passed over while there is another. */
static void test_rule_2_spares_the_ring_slots_in_use(void **state)
{
	cache *c = open_cache(&policy_fifo, 4, 3);
	const cache_member event[] = {member(1), member(5)};
	cache_placement place;

	(void)state;
	for (uint32_t e = 0; e < 4; e++)
		demand(c, e); /* 3 in the main slot; 0, 1, 2 in the ring */
	cache_pin(c, cache_find(c, 0));
	cache_event_begin(c, 0, event, 2);
	assert_int_equal(cache_place(c, 5, &place), UFM_OK);
	assert_int_equal(place.evicted_key, 2);
	check(c);
	cache_event_end(c, 0, event, 2);
	cache_unpin(c, cache_find(c, 0));
	cache_close(c);
}

static void test_rule_3_straight_into_the_main_slot(void **state)
{
	cache *c = open_cache(&policy_lru, 4, 2);
	cache_placement place;
	cache_member one = member(9);

	(void)state;
	for (uint32_t e = 0; e < 4; e++)
		demand(c, e); /* 2, 3 in main slots; 0, 1 in the ring */
	cache_pin(c, cache_find(c, 0));
	cache_pin(c, cache_find(c, 1));
	cache_event_begin(c, 0, &one, 1);
	assert_int_equal(cache_place(c, 9, &place), UFM_OK);
	assert_true(place.kept);
	assert_int_equal(place.evicted_key, 2);
	check(c);
	cache_event_end(c, 0, &one, 1);
	cache_close(c);
}

/* The layer demands more than fits: the ring turns, the main slots stay. */
static void test_rule_4_the_ring_gives_up_members(void **state)
{
	cache *c = open_cache(&policy_lru, 4, 2);
	cache_member event[8];

	(void)state;
	for (uint32_t e = 0; e < 8; e++)
		event[e] = member(e);
	cache_event_begin(c, 0, event, 8); /* of the first sweep a layer keeps its share alone */
	cache_event_end(c, 0, event, 8);
	cache_event_begin(c, 0, event, 8);
	for (uint32_t e = 0; e < 8; e++) {
		cache_placement place;

		assert_int_equal(cache_place(c, e, &place), UFM_OK);
		assert_int_equal(place.kept, e < 2);
		assert_int_equal(place.evicted_key, e < 4 ? UFM_KEY_NONE : e - 2);
		check(c);
	}
	cache_event_end(c, 0, event, 8);
	assert_false(slot_of(c, 0).in_ring);
	assert_false(slot_of(c, 1).in_ring);
	assert_true(slot_of(c, 6).in_ring);
	assert_true(slot_of(c, 7).in_ring);
	cache_close(c);
}

/* A sweep of a layer: all its misses, in order. Returns how many of them were kept. */
static uint32_t sweep(cache *c, uint32_t layer)
{
	cache_member event[EXPERTS];
	uint32_t kept = 0;

	for (uint32_t e = 0; e < EXPERTS; e++)
		event[e] = member(e);
	cache_event_begin(c, layer, event, EXPERTS);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		uint32_t key = layer * EXPERTS + e;
		cache_placement place;

		if (cache_find(c, key) != SLOT_NONE)
			continue;
		assert_int_equal(cache_place(c, key, &place), UFM_OK);
		cache_loaded(c, place.slot, place.generation);
		kept += place.kept;
		check(c);
	}
	cache_event_end(c, layer, event, EXPERTS);
	return kept;
}

/* Whatever the policy: of five places each of two layers gets two, and the one that is left the first to come again. */
static void test_a_first_sweep_takes_its_share(void **state)
{
	static const ufm_policy *const policies[] = {&policy_lru, &policy_freq, &policy_cycle};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		cache *c = open_cache(policies[i], 7, 2);
		cache_stats stats;

		assert_int_equal(sweep(c, 0), 2);
		assert_int_equal(sweep(c, 1), 2);
		cache_get_stats(c, &stats);
		assert_int_equal(stats.free_places, 1);
		assert_true(sweep(c, 0) >= 1);
		cache_get_stats(c, &stats);
		assert_int_equal(stats.free_places, 0);
		cache_close(c);
	}
}

/* What a layer has already counts; one that has more than its share keeps it. */
static void test_a_share_counts_what_is_there(void **state)
{
	cache *c = open_cache(&policy_cycle, 7, 2);
	const cache_member one = member(0);
	cache_placement place;
	cache_stats stats;

	(void)state;
	for (uint32_t e = 0; e < 3; e++)
		demand(c, e); /* one by one nothing is shared out */
	assert_int_equal(sweep(c, 0), 0);
	cache_event_begin(c, 1, &one, 1);
	assert_int_equal(cache_place(c, EXPERTS, &place), UFM_OK);
	cache_loaded(c, place.slot, place.generation);
	cache_event_end(c, 1, &one, 1);
	assert_true(place.kept);
	cache_get_stats(c, &stats);
	assert_int_equal(stats.free_places, 1);
	assert_true(sweep(c, 1) >= 1); /* from then on the policy decides */
	cache_get_stats(c, &stats);
	assert_int_equal(stats.free_places, 0);
	cache_close(c);
}

/* A lone layer of a bank has all places after its second sweep; and without a ring at once, as there is no other way in. */
static void test_shares_waste_nothing(void **state)
{
	cache *c = open_cache(&policy_cycle, 7, 2);
	cache_stats stats;

	(void)state;
	assert_int_equal(sweep(c, 0), 2);
	sweep(c, 0);
	cache_get_stats(c, &stats);
	assert_int_equal(stats.free_places, 0);
	cache_close(c);
	c = open_cache(&policy_cycle, EXPERTS, 0);
	assert_int_equal(sweep(c, 0), EXPERTS);
	cache_close(c);
}

/* A lease larger than the ring: others go before members, members before UFM_EBUSY. */
static void test_rules_5_and_6(void **state)
{
	cache *c = open_cache(&policy_freq, 4, 2);
	const cache_member event[] = {member(0), member(8), member(9), member(10), member(11)};
	cache_placement place;

	(void)state;
	for (int round = 0; round < 5; round++) {
		demand(c, 0);
		demand(c, 1);
	}
	cache_event_begin(c, 0, event, 5);
	for (uint32_t i = 1; i < 3; i++) {
		assert_int_equal(cache_place(c, event[i].expert, &place), UFM_OK);
		assert_false(place.kept);
		cache_pin(c, place.slot);
	}
	assert_int_equal(cache_place(c, 10, &place), UFM_OK);
	assert_int_equal(place.evicted_key, 1);
	assert_true(place.kept);
	cache_pin(c, place.slot);
	assert_int_equal(cache_place(c, 11, &place), UFM_OK);
	assert_int_equal(place.evicted_key, 0);
	cache_pin(c, place.slot);
	assert_int_equal(cache_place(c, 0, &place), UFM_EBUSY);
	assert_non_null(strstr(ufm_last_error(), "all 4 slots are pinned"));
	check(c);
	cache_event_end(c, 0, event, 5);
	cache_close(c);
}

static void test_without_a_ring_the_declined_go_nowhere(void **state)
{
	cache *c = open_cache(&policy_freq, 2, 0);
	const cache_member event[] = {member(0), member(1), member(2)};
	cache_placement place;

	(void)state;
	for (int round = 0; round < 5; round++) {
		demand(c, 0);
		demand(c, 1);
	}
	place = demand(c, 2);
	assert_int_equal(place.slot, SLOT_NONE);
	assert_int_equal(cache_find(c, 2), SLOT_NONE);
	/* nor are members stolen */
	cache_event_begin(c, 0, event, 3);
	assert_int_equal(cache_place(c, 2, &place), UFM_OK);
	assert_int_equal(place.slot, SLOT_NONE);
	cache_event_end(c, 0, event, 3);
	cache_close(c);
}

static void test_all_slots_may_be_the_ring(void **state)
{
	cache *c = open_cache(&policy_lru, 2, 2);

	(void)state;
	demand(c, 0);
	demand(c, 1);
	assert_int_equal(demand(c, 2).evicted_key, 0);
	assert_int_equal(demand(c, 3).evicted_key, 1);
	assert_int_equal(demand(c, 3).slot, SLOT_NONE); /* a hit */
	assert_int_equal(demand(c, 4).evicted_key, 2);
	cache_close(c);
}

/* ------------------------------------------------------------------ lingering */

static void test_a_lingering_hit_is_taken_back_by_lru(void **state)
{
	cache *c = open_cache(&policy_lru, 4, 2);

	(void)state;
	for (uint32_t e = 0; e < 3; e++)
		demand(c, e);
	assert_true(slot_of(c, 0).in_ring);
	demand(c, 0);
	assert_false(slot_of(c, 0).in_ring);
	assert_true(slot_of(c, 1).in_ring);
	cache_close(c);
}

static void test_a_lingering_hit_is_left_by_fifo(void **state)
{
	cache *c = open_cache(&policy_fifo, 4, 2);

	(void)state;
	for (uint32_t e = 0; e < 3; e++)
		demand(c, e);
	demand(c, 0);
	assert_true(slot_of(c, 0).in_ring);
	cache_close(c);
}

/* A load into a main slot fails; the next member that lingers takes the empty place. */
static void test_a_lingering_hit_takes_a_free_place(void **state)
{
	cache *c = open_cache(&policy_fifo, 4, 2);
	cache_placement place;
	cache_stats stats;

	(void)state;
	for (uint32_t e = 0; e < 3; e++)
		demand(c, e);
	assert_int_equal(cache_place(c, 9, &place), UFM_OK);
	assert_true(place.kept);
	cache_load_failed(c, place.slot, place.generation);
	check(c);
	assert_int_equal(cache_find(c, 9), SLOT_NONE);
	demand(c, 0);
	assert_false(slot_of(c, 0).in_ring);
	cache_get_stats(c, &stats);
	assert_int_equal(stats.free, 1);
	/* the empty slot is in the ring now, and the first to be filled */
	assert_int_equal(demand(c, 10).evicted_key, UFM_KEY_NONE);
	cache_close(c);
}

/* ------------------------------------------------------------------ loads, pins, hints */

static void test_loads(void **state)
{
	cache *c = open_cache(&policy_lru, 2, 1);
	cache_placement first, second;
	cache_stats stats;

	(void)state;
	assert_int_equal(cache_place(c, 0, &first), UFM_OK);
	assert_int_equal(slot_of(c, 0).state, SLOT_LOADING);
	cache_loaded(c, first.slot, first.generation + 1);
	assert_int_equal(slot_of(c, 0).state, SLOT_LOADING);
	cache_loaded(c, first.slot, first.generation);
	assert_int_equal(slot_of(c, 0).state, SLOT_READY);
	cache_loaded(c, first.slot, first.generation);
	cache_load_failed(c, first.slot, first.generation);
	assert_int_equal(slot_of(c, 0).state, SLOT_READY);
	/* a ring slot whose load failed is the next one */
	assert_int_equal(cache_place(c, 1, &first), UFM_OK);
	assert_int_equal(cache_place(c, 2, &second), UFM_OK);
	cache_load_failed(c, second.slot, second.generation);
	check(c);
	cache_get_stats(c, &stats);
	assert_int_equal(stats.free + stats.loading + stats.ready, 2);
	assert_int_equal(stats.free, 1);
	cache_close(c);
}

static void test_pins_keep_a_slot_that_is_loading(void **state)
{
	cache *c = open_cache(&policy_lru, 2, 2);
	cache_placement first, second, third;

	(void)state;
	assert_int_equal(cache_place(c, 0, &first), UFM_OK);
	cache_pin(c, first.slot);
	cache_pin(c, first.slot);
	assert_int_equal(cache_place(c, 1, &second), UFM_OK);
	assert_int_equal(cache_place(c, 2, &third), UFM_OK);
	assert_int_equal(third.evicted_key, 1);
	cache_unpin(c, first.slot);
	assert_int_equal(cache_place(c, 3, &third), UFM_OK);
	assert_int_equal(third.evicted_key, 2);
	cache_unpin(c, first.slot);
	assert_int_equal(cache_place(c, 4, &third), UFM_OK);
	assert_int_equal(third.evicted_key, 0);
	check(c);
	cache_close(c);
}

static void test_hints_take_empty_slots_only(void **state)
{
	cache *c = open_cache(&policy_lru, 3, 1);
	cache_placement place;

	(void)state;
	for (uint32_t e = 0; e < 3; e++) {
		assert_int_equal(cache_place_free(c, e, &place), UFM_OK);
		assert_int_equal(place.evicted_key, UFM_KEY_NONE);
		assert_int_equal(place.kept, e < 2);
		check(c);
	}
	assert_int_equal(cache_place_free(c, 3, &place), UFM_EBUSY);
	assert_int_equal(cache_find(c, 3), SLOT_NONE);
	cache_close(c);
}

/* A key stays locked until the last of the events that demand it has ended. */
static void test_events_nest(void **state)
{
	cache *c = open_cache(&policy_lru, 2, 0);
	const cache_member outer[] = {member(0), member(1)}, inner[] = {member(1)};
	cache_placement place;

	(void)state;
	demand(c, 0);
	demand(c, 1);
	cache_event_begin(c, 0, outer, 2);
	cache_event_begin(c, 0, inner, 1);
	cache_event_end(c, 0, outer, 2);
	assert_int_equal(cache_place(c, 5, &place), UFM_OK);
	assert_int_equal(place.evicted_key, 0);
	assert_int_equal(cache_place(c, 6, &place), UFM_OK);
	assert_int_equal(place.evicted_key, 5);
	cache_event_end(c, 0, inner, 1);
	check(c);
	cache_close(c);
}

/* ------------------------------------------------------------------ the bar */

/* Of any policy. With every ring slot in use a free place is better than none. */
static void test_closed_keeps_nobody(void **state)
{
	cache *c = open_cache(&policy_lru, 6, 2);
	const cache_member event[] = {member(0), member(1), member(2), member(3)};
	cache_placement place;

	(void)state;
	cache_event_begin(c, 0, event, 4);
	cache_set_bar(c, 0);
	for (uint32_t e = 0; e < 2; e++) {
		assert_int_equal(cache_place(c, e, &place), UFM_OK);
		assert_false(place.kept);
		cache_pin(c, place.slot);
	}
	assert_int_equal(cache_place(c, 2, &place), UFM_OK);
	assert_true(place.kept);
	cache_set_bar(c, 1);
	assert_int_equal(cache_place(c, 3, &place), UFM_OK);
	assert_true(place.kept);
	cache_event_end(c, 0, event, 4);
	check(c);
	cache_close(c);
}

static void test_closed_displaces_nobody(void **state)
{
	cache *c = open_cache(&policy_lru, 4, 2);
	cache_placement place;
	const cache_member event[] = {member(7)};

	(void)state;
	demand(c, 0);
	demand(c, 1);
	cache_event_begin(c, 0, event, 1);
	cache_set_bar(c, 0);
	assert_int_equal(cache_place(c, 7, &place), UFM_OK);
	assert_false(place.kept);
	cache_event_end(c, 0, event, 1);
	assert_true(cache_find(c, 0) != SLOT_NONE && cache_find(c, 1) != SLOT_NONE);
	assert_true(slot_of(c, 7).in_ring);
	cache_forget_declined(c, 0, event, 1);
	cache_set_bar(c, 1);
	demand(c, 7);
	assert_true(slot_of(c, 0).in_ring && !slot_of(c, 7).in_ring);
	check(c);
	cache_close(c);
}

static float picky_bar;

static void picky_set_bar(void *state, float bar)
{
	(void)state;
	picky_bar = bar;
}

/* Expert e is worth e tenths, and whoever is there two. */
static uint32_t picky_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	if (newcomer != UFM_KEY_NONE && picky_bar * (float)newcomer / 10 <= 0.2f)
		return UFM_KEY_NONE;
	return policy_lru.victim(state, newcomer, locked, lingering);
}

static void test_appeal_counts_bars(void **state)
{
	const uint32_t newcomers[] = {1, 3, 10, 15}, appeals[] = {0, 2, 5, 6};
	ufm_policy picky = policy_lru;
	cache *c;

	(void)state;
	picky.flags |= UFM_POLICY_MAY_BYPASS;
	picky.set_bar = picky_set_bar;
	picky.victim = picky_victim;
	c = open_cache(&picky, 4, 2);
	assert_int_equal(cache_appeal(c, 1), CACHE_APPEAL_MAX); /* there is a free place */
	demand(c, 8);
	demand(c, 9);
	for (uint32_t i = 0; i < 4; i++) {
		picky_bar = 0;
		assert_int_equal(cache_appeal(c, newcomers[i]), appeals[i]);
		assert_true(picky_bar == 1);
	}
	cache_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_for),
		cmocka_unit_test(test_bad_configurations),
		cmocka_unit_test(test_every_allocation_may_fail),
		cmocka_unit_test(test_rule_1_free_main_slots_first),
		cmocka_unit_test(test_rule_2_labels_swap),
		cmocka_unit_test(test_rule_2_declined_newcomers_pass_through),
		cmocka_unit_test(test_declined_members_stay_in_the_ring),
		cmocka_unit_test(test_rule_2_spares_the_ring_slots_in_use),
		cmocka_unit_test(test_rule_3_straight_into_the_main_slot),
		cmocka_unit_test(test_rule_4_the_ring_gives_up_members),
		cmocka_unit_test(test_a_first_sweep_takes_its_share),
		cmocka_unit_test(test_a_share_counts_what_is_there),
		cmocka_unit_test(test_shares_waste_nothing),
		cmocka_unit_test(test_rules_5_and_6),
		cmocka_unit_test(test_without_a_ring_the_declined_go_nowhere),
		cmocka_unit_test(test_all_slots_may_be_the_ring),
		cmocka_unit_test(test_a_lingering_hit_is_taken_back_by_lru),
		cmocka_unit_test(test_a_lingering_hit_is_left_by_fifo),
		cmocka_unit_test(test_a_lingering_hit_takes_a_free_place),
		cmocka_unit_test(test_loads),
		cmocka_unit_test(test_pins_keep_a_slot_that_is_loading),
		cmocka_unit_test(test_hints_take_empty_slots_only),
		cmocka_unit_test(test_events_nest),
		cmocka_unit_test(test_closed_keeps_nobody),
		cmocka_unit_test(test_closed_displaces_nobody),
		cmocka_unit_test(test_appeal_counts_bars),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
