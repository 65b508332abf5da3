/* SPDX-License-Identifier: MIT */
/* More and fewer slots, case by case. Random sequences are in tests/property. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policy/registry.h"
#include "support/cache_steps.h"

#define EXPERTS 16

static cache *open_resizable(const ufm_policy *policy, uint32_t slots, uint32_t ring)
{
	cache_config config = {.slots = slots,
	                       .ring = ring,
	                       .slots_max = 2 * EXPERTS,
	                       .layers = 2,
	                       .experts = EXPERTS,
	                       .policy = policy};
	cache *c;

	assert_int_equal(cache_open(&config, &c), UFM_OK);
	return c;
}

static cache_resized resize(cache *c, uint32_t slots, uint32_t ring)
{
	cache_move moves[2 * EXPERTS];
	cache_resized done;

	assert_int_equal(cache_resize(c, slots, ring, moves, &done), UFM_OK);
	for (uint32_t i = 0; i < done.moves; i++)
		cache_loaded(c, moves[i].to, moves[i].generation);
	check(c);
	return done;
}

static void test_growing_adds_empty_slots(void **state)
{
	cache *c = open_resizable(&policy_lru, 4, 2);
	cache_resized done;
	cache_stats stats;

	(void)state;
	for (uint32_t e = 0; e < 4; e++)
		demand(c, e);
	done = resize(c, 9, 4);
	assert_int_equal(done.moves, 0);
	assert_int_equal(done.evictions, 0);
	cache_get_stats(c, &stats);
	assert_int_equal(stats.slots, 9);
	assert_int_equal(stats.ring, 4);
	assert_int_equal(stats.free, 5);
	for (uint32_t e = 4; e < 9; e++)
		assert_int_equal(demand(c, e).evicted_key, UFM_KEY_NONE);
	for (uint32_t e = 0; e < 9; e++)
		assert_int_not_equal(cache_find(c, e), SLOT_NONE);
	assert_int_equal(demand(c, 9).evicted_key, 0);
	cache_close(c);
}

/* The last slots go; those who rank highest stay, wherever they were. */
static void test_shrinking_moves_who_stays(void **state)
{
	cache *c = open_resizable(&policy_lru, 6, 2);
	cache_resized done;

	(void)state;
	for (uint32_t e = 0; e < 6; e++)
		demand(c, e); /* 0, 1 in the ring; 5 was the last used */
	assert_true(cache_find(c, 5) >= 3);
	done = resize(c, 3, 2);
	assert_int_equal(done.evictions, 3);
	for (uint32_t e = 0; e < 3; e++)
		assert_int_equal(cache_find(c, e), SLOT_NONE);
	for (uint32_t e = 3; e < 6; e++)
		assert_true(cache_find(c, e) < 3);
	assert_false(slot_of(c, 5).in_ring);
	assert_int_equal(demand(c, 6).evicted_key, 3);
	cache_close(c);
}

static void test_shrinking_into_empty_slots_drops_nobody(void **state)
{
	cache *c = open_resizable(&policy_freq, 12, 4);
	cache_placement place;
	cache_resized done;

	(void)state;
	for (uint32_t e = 0; e < 8; e++)
		demand(c, e);
	/* the load into a low slot failed: it is empty */
	assert_int_equal(cache_place(c, 9, &place), UFM_OK);
	cache_load_failed(c, place.slot, place.generation);
	done = resize(c, 8, 4);
	assert_int_equal(done.evictions, 0);
	for (uint32_t e = 0; e < 8; e++)
		assert_int_not_equal(cache_find(c, e), SLOT_NONE);
	done = resize(c, 8, 4); /* the same again changes nothing */
	assert_int_equal(done.moves + done.evictions, 0);
	cache_close(c);
}

/* A move whose copy failed leaves an empty slot. */
static void test_a_failed_move_is_a_failed_load(void **state)
{
	cache *c = open_resizable(&policy_lru, 4, 0);
	cache_move moves[4];
	cache_resized done;

	(void)state;
	for (uint32_t e = 0; e < 4; e++)
		demand(c, e);
	assert_int_equal(cache_resize(c, 2, 0, moves, &done), UFM_OK);
	assert_int_equal(done.moves, 2);
	assert_int_equal(slot_of(c, 2).state, SLOT_LOADING);
	for (uint32_t i = 0; i < 2; i++)
		cache_load_failed(c, moves[i].to, moves[i].generation);
	check(c);
	assert_int_equal(cache_find(c, 2), SLOT_NONE);
	assert_int_equal(demand(c, 7).evicted_key, UFM_KEY_NONE);
	cache_close(c);
}

static void test_pinned_slots_stay(void **state)
{
	cache *c = open_resizable(&policy_lru, 6, 2);
	cache_move moves[6];
	cache_resized done;
	uint32_t low, high;

	(void)state;
	for (uint32_t e = 0; e < 6; e++)
		demand(c, e);
	/* expert 0 is the next to leave, in a low slot; 5 is in a high one */
	low = cache_find(c, 0);
	high = cache_find(c, 5);
	assert_true(low < 4 && high >= 4);
	cache_pin(c, high);
	assert_int_equal(cache_resize(c, 4, 2, moves, &done), UFM_EBUSY);
	assert_non_null(strstr(ufm_last_error(), "1 of the 2 slots that go are pinned"));
	check(c);
	cache_unpin(c, high);
	cache_pin(c, low);
	assert_int_equal(cache_resize(c, 4, 4, moves, &done), UFM_EBUSY);
	assert_non_null(strstr(ufm_last_error(), "0 places"));
	assert_int_equal(resize(c, 4, 2).evictions, 2);
	assert_int_equal(cache_find(c, 0), low);
	assert_int_equal(cache_find(c, 1), SLOT_NONE);
	assert_int_equal(cache_find(c, 2), SLOT_NONE);
	cache_unpin(c, low);
	cache_close(c);
}

/* Without places the policy has nothing to order, but it still learns what is used. */
static void test_places_come_and_go(void **state)
{
	cache *c = open_resizable(&policy_freq, 2, 2);

	(void)state;
	for (uint32_t round = 0; round < 5; round++)
		demand(c, 0);
	resize(c, 5, 2);
	for (uint32_t e = 0; e < 5; e++)
		demand(c, e);
	assert_int_equal(resize(c, 2, 2).evictions, 3);
	assert_true(slot_of(c, 0).in_ring); /* demanded most often, so it left the places last */
	resize(c, 6, 0);                    /* everybody has a place, and there is no ring */
	assert_false(slot_of(c, 0).in_ring);
	demand(c, 8);
	resize(c, 4, 2);
	assert_int_not_equal(cache_find(c, 0), SLOT_NONE);
	cache_close(c);
}

static void test_bad_sizes(void **state)
{
	cache *c = open_resizable(&policy_lru, 4, 2);
	cache_config config = {
		.slots = 4, .ring = 2, .slots_max = 3, .layers = 1, .experts = 8, .policy = &policy_lru};
	cache *none = NULL;
	cache_move moves[4];
	cache_resized done;

	(void)state;
	assert_int_equal(cache_resize(c, 0, 0, moves, &done), UFM_EINVAL);
	assert_int_equal(cache_resize(c, 2 * EXPERTS + 1, 2, moves, &done), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "slots is 33, expected 1 … 32"));
	assert_int_equal(cache_resize(c, 3, 4, moves, &done), UFM_EINVAL);
	check(c);
	assert_int_equal(cache_open(&config, &none), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "slots_max is 3, expected 0 or 4"));
	cache_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growing_adds_empty_slots),
		cmocka_unit_test(test_shrinking_moves_who_stays),
		cmocka_unit_test(test_shrinking_into_empty_slots_drops_nobody),
		cmocka_unit_test(test_a_failed_move_is_a_failed_load),
		cmocka_unit_test(test_pinned_slots_stay),
		cmocka_unit_test(test_places_come_and_go),
		cmocka_unit_test(test_bad_sizes),
	};

	return cmocka_run_group_tests_name("cache resize", tests, NULL, NULL);
}
