/* SPDX-License-Identifier: MIT */
/* Short steps for tests of the cache. After cmocka.h. */
#ifndef UFM_TESTS_CACHE_STEPS_H
#define UFM_TESTS_CACHE_STEPS_H

#include "cache/cache.h"

static inline void check(const cache *c)
{
	const char *why;

	if (!cache_check(c, &why))
		fail_msg("%s", why);
}

static inline cache_member member(uint32_t expert)
{
	return (cache_member){.expert = expert, .tokens = 1, .next_event = UFM_NEVER};
}

/* An event of one expert of layer 0, which is loaded if need be. */
static inline cache_placement demand(cache *c, uint32_t expert)
{
	cache_placement place = {.slot = SLOT_NONE, .evicted_key = UFM_KEY_NONE};
	cache_member one = member(expert);

	cache_event_begin(c, 0, &one, 1);
	if (cache_find(c, expert) == SLOT_NONE) {
		assert_int_equal(cache_place(c, expert, &place), UFM_OK);
		if (place.slot != SLOT_NONE)
			cache_loaded(c, place.slot, place.generation);
	}
	cache_event_end(c, 0, &one, 1);
	check(c);
	return place;
}

static inline cache_slot slot_of(const cache *c, uint32_t key)
{
	cache_slot view;

	assert_int_not_equal(cache_find(c, key), SLOT_NONE);
	cache_get_slot(c, cache_find(c, key), &view);
	return view;
}

#endif
