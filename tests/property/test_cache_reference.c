/* SPDX-License-Identifier: MIT */
/* LRU and FIFO behind the cache's ring, against their definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
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
	uint32_t found[EVENTS], expected[EVENTS];
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lru_with_ring_is_lru_of_all_slots),
		cmocka_unit_test(test_fifo_with_ring_is_fifo_of_all_slots),
		cmocka_unit_test(test_fifo_without_ring_is_fifo_for_sets),
		cmocka_unit_test(test_lru_is_a_stack_algorithm),
	};

	return cmocka_run_group_tests_name("cache reference", tests, NULL, NULL);
}
