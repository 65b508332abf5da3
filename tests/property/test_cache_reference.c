/* SPDX-License-Identifier: MIT */
/* LRU and FIFO behind the cache's ring, against their definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "policy/registry.h"
#include "support/replay.h"

/* A cache of C slots and no ring, written down as its definition. */
typedef struct plain {
	uint32_t slots, count;
	uint32_t *tenants;
	uint64_t *order; /* [keys]; by what the victim is chosen: smallest leaves */
	uint64_t now;
} plain;

static bool plain_has(const plain *p, uint32_t key)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->tenants[i] == key)
			return true;
	}
	return false;
}

static bool is_member(uint32_t key, const uint32_t *keys, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (keys[i] == key)
			return true;
	}
	return false;
}

static void plain_admit(plain *p, uint32_t key, const uint32_t *keys, uint32_t n)
{
	uint32_t victim = UINT32_MAX;

	if (p->count < p->slots) {
		p->tenants[p->count++] = key;
		return;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		if (is_member(p->tenants[i], keys, n))
			continue;
		if (victim == UINT32_MAX || p->order[p->tenants[i]] < p->order[p->tenants[victim]])
			victim = i;
	}
	assert_int_not_equal(victim, UINT32_MAX);
	p->tenants[victim] = key;
}

/* LRU: every use moves a key to the young end; FIFO: only its admission does. */
static uint32_t plain_event(plain *p, bool lru, const uint32_t *keys, uint32_t n)
{
	bool hit[64];
	uint32_t hits = 0;

	for (uint32_t i = 0; i < n; i++) {
		hit[i] = plain_has(p, keys[i]);
		hits += hit[i];
		if (lru || !hit[i])
			p->order[keys[i]] = ++p->now;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!hit[i])
			plain_admit(p, keys[i], keys, n);
	}
	return hits;
}

static void plain_replay(const trace *t, bool lru, uint32_t slots, uint32_t *hits_at)
{
	plain p = {.slots = slots};

	p.tenants = alloc_zeroed(slots, sizeof *p.tenants);
	p.order = alloc_zeroed(t->layers * t->experts, sizeof *p.order);
	for (uint32_t e = 0; e < t->event_count; e++) {
		const trace_event *event = &t->events[e];
		uint32_t keys[64];

		for (uint32_t i = 0; i < event->n; i++)
			keys[i] = event->layer * t->experts + t->members[event->first + i].expert;
		hits_at[e] = plain_event(&p, lru, keys, event->n);
	}
	alloc_free(p.order);
	alloc_free(p.tenants);
}

static void compare_with_plain(const ufm_policy *policy, bool lru, uint32_t members_max,
                               uint32_t slots, uint32_t ring, uint64_t seed)
{
	enum { EVENTS = 300 };
	uint32_t found[EVENTS] = {0}, expected[EVENTS] = {0};
	trace t;
	rng r;

	rng_seed(&r, seed);
	trace_random(&t, &r, 1 + (uint32_t)(seed % 3), 8, EVENTS, members_max, (double)(seed % 4) / 2);
	replay_trace(&t, policy, slots, ring, found);
	plain_replay(&t, lru, slots, expected);
	for (uint32_t e = 0; e < EVENTS; e++) {
		if (found[e] != expected[e])
			fail_msg("%s slots %u ring %u seed %llu event %u: %u hits, expected %u", policy->name,
			         slots, ring, (unsigned long long)seed, e, found[e], expected[e]);
	}
	trace_free(&t);
}

/* While events fit the places, the ring does not show. */
static void test_lru_with_ring_is_lru_of_all_slots(void **state)
{
	(void)state;
	for (uint32_t ring = 0; ring <= 4; ring++) {
		for (uint32_t places = 1; places <= 6; places++) {
			for (uint64_t seed = 1; seed <= 20; seed++)
				compare_with_plain(&policy_lru, true, places < 5 ? places : 5, places + ring, ring,
				                   seed);
		}
	}
}

static void test_fifo_with_ring_is_fifo_of_all_slots(void **state)
{
	(void)state;
	for (uint32_t ring = 0; ring <= 4; ring++) {
		for (uint32_t places = 1; places <= 6; places++) {
			for (uint64_t seed = 1; seed <= 20; seed++)
				compare_with_plain(&policy_fifo, false, 1, places + ring, ring, seed);
		}
	}
}

static void test_fifo_without_ring_is_fifo_for_sets(void **state)
{
	(void)state;
	for (uint32_t places = 1; places <= 6; places++) {
		for (uint64_t seed = 1; seed <= 40; seed++)
			compare_with_plain(&policy_fifo, false, places < 5 ? places : 5, places, 0, seed);
	}
}

/* More slots never cost LRU a hit (it is a stack algorithm), event by event. */
static void test_lru_is_a_stack_algorithm(void **state)
{
	enum { EVENTS = 500, MEMBERS = 4 };

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint32_t before[EVENTS] = {0}, now[EVENTS];
		uint32_t ring = (uint32_t)(seed % 4);
		trace t;
		rng r;

		rng_seed(&r, seed);
		trace_random(&t, &r, 2, 12, EVENTS, MEMBERS, 1.0);
		for (uint32_t slots = MEMBERS + ring; slots <= 26; slots++) {
			replay_trace(&t, &policy_lru, slots, ring, now);
			for (uint32_t e = 0; e < EVENTS; e++) {
				if (now[e] < before[e])
					fail_msg("seed %llu slots %u event %u: %u hits after %u with one slot less",
					         (unsigned long long)seed, slots, e, now[e], before[e]);
			}
			memcpy(before, now, sizeof now);
		}
		trace_free(&t);
	}
}

/* ------------------------------------------------------------------ resizing */

static void plain_resize(plain *p, uint32_t slots)
{
	p->slots = slots;
	while (p->count > slots) {
		uint32_t least = 0;

		for (uint32_t i = 1; i < p->count; i++) {
			if (p->order[p->tenants[i]] < p->order[p->tenants[least]])
				least = i;
		}
		p->tenants[least] = p->tenants[--p->count];
	}
}

static void resize_both(cache *c, plain *p, uint32_t slots)
{
	cache_move moves[32];
	cache_resized done;

	assert_int_equal(cache_resize(c, slots, cache_ring_for(slots, 0), moves, &done), UFM_OK);
	for (uint32_t i = 0; i < done.moves; i++)
		cache_loaded(c, moves[i].to, moves[i].generation);
	plain_resize(p, slots);
}

static void check_tenants(const cache *c, const plain *p, uint32_t keys, uint64_t seed, uint32_t e)
{
	for (uint32_t key = 0; key < keys; key++) {
		if ((cache_find(c, key) != SLOT_NONE) != plain_has(p, key))
			fail_msg("seed %llu event %u: key %u is in one of two", (unsigned long long)seed, e,
			         key);
	}
}

/* An LRU that loses slots loses its least recent tenants; what it gains fills by use. So with sizes that
 * change between events the same experts are resident as in a plain LRU, hit or not. */
static void compare_resized(uint64_t seed)
{
	enum { EVENTS = 400, LAYERS = 2, EXPERTS = 10, LEAST = 6, MOST = 24, MEMBERS = 3 };
	cache_config config = {.slots = MOST / 2,
	                       .ring = cache_ring_for(MOST / 2, 0),
	                       .slots_max = MOST,
	                       .layers = LAYERS,
	                       .experts = EXPERTS,
	                       .policy = &policy_lru};
	uint32_t tenants[MOST];
	uint64_t order[LAYERS * EXPERTS] = {0};
	plain p = {.slots = config.slots, .tenants = tenants, .order = order};
	cache *c;
	trace t;
	rng r;

	rng_seed(&r, seed);
	trace_random(&t, &r, LAYERS, EXPERTS, EVENTS, MEMBERS, 1.0);
	assert_int_equal(cache_open(&config, &c), UFM_OK);
	for (uint32_t e = 0; e < EVENTS; e++) {
		const trace_event *event = &t.events[e];
		uint32_t keys[MEMBERS];

		if (rng_below(&r, 6) == 0)
			resize_both(c, &p, LEAST + rng_below(&r, MOST - LEAST + 1));
		check_tenants(c, &p, LAYERS * EXPERTS, seed, e);
		for (uint32_t i = 0; i < event->n; i++)
			keys[i] = event->layer * EXPERTS + t.members[event->first + i].expert;
		assert_int_equal(replay_event(c, event->layer, EXPERTS, &t.members[event->first], event->n),
		                 plain_event(&p, true, keys, event->n));
	}
	cache_close(c);
	trace_free(&t);
}

static void test_a_resized_lru_is_a_resized_lru(void **state)
{
	uint64_t first = clock_now_ns();

	(void)state;
	print_message("seeds from %llu\n", (unsigned long long)first);
	for (uint64_t seed = 0; seed < 100; seed++)
		compare_resized(first + seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lru_with_ring_is_lru_of_all_slots),
		cmocka_unit_test(test_fifo_with_ring_is_fifo_of_all_slots),
		cmocka_unit_test(test_fifo_without_ring_is_fifo_for_sets),
		cmocka_unit_test(test_lru_is_a_stack_algorithm),
		cmocka_unit_test(test_a_resized_lru_is_a_resized_lru),
	};

	return cmocka_run_group_tests_name("cache reference", tests, NULL, NULL);
}
