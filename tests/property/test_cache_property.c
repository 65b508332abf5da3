/* SPDX-License-Identifier: MIT */
/* What must hold for a cache and its policies whatever is asked of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "policy/registry.h"
#include "support/replay.h"

/* ------------------------------------------------------------------ random operations */

#define OPEN_EVENTS_MAX 3
#define EVENT_MEMBERS_MAX 8
#define PINS_MAX 64

typedef struct open_event {
	uint32_t layer, n;
	cache_member members[EVENT_MEMBERS_MAX];
} open_event;

typedef struct machine {
	rng r;
	cache *c;
	cache_config config;
	uint32_t keys;
	open_event events[OPEN_EVENTS_MAX];
	uint32_t event_count;
	uint32_t pins[PINS_MAX]; /* slots, one entry a pin */
	uint32_t pin_count;
	uint32_t busy; /* UFM_EBUSY seen: proves that the case was reached */
} machine;

static void begin_event(machine *m)
{
	open_event *event = &m->events[m->event_count];

	if (m->event_count == OPEN_EVENTS_MAX)
		return;
	event->layer = rng_below(&m->r, m->config.layers);
	event->n = 0;
	for (uint32_t e = 0; e < m->config.experts && event->n < EVENT_MEMBERS_MAX; e++) {
		if (rng_below(&m->r, 3) == 0)
			event->members[event->n++] =
				(cache_member){.expert = e, .tokens = 1, .next_event = rng_below(&m->r, 100)};
	}
	cache_event_begin(m->c, event->layer, event->members, event->n);
	m->event_count++;
}

/* Events may end in any order. */
static void end_event(machine *m)
{
	uint32_t index;
	open_event *event;

	if (!m->event_count)
		return;
	index = rng_below(&m->r, m->event_count);
	event = &m->events[index];
	cache_event_end(m->c, event->layer, event->members, event->n);
	m->events[index] = m->events[--m->event_count];
}

static uint32_t absent_key(machine *m)
{
	uint32_t first = rng_below(&m->r, m->keys);

	for (uint32_t i = 0; i < m->keys; i++) {
		uint32_t key = (first + i) % m->keys;

		if (cache_find(m->c, key) == SLOT_NONE)
			return key;
	}
	return UFM_KEY_NONE;
}

static void check_placement(machine *m, uint32_t key, const cache_placement *place,
                            const cache_slot *before)
{
	cache_slot after;

	cache_get_slot(m->c, place->slot, &after);
	assert_int_equal(cache_find(m->c, key), place->slot);
	assert_int_equal(after.state, SLOT_LOADING);
	assert_int_equal(after.key, key);
	assert_int_equal(after.pins, 0);
	assert_int_equal(after.generation, place->generation);
	assert_int_equal(after.generation, before[place->slot].generation + 1);
	assert_int_equal(before[place->slot].pins, 0);
	assert_int_equal(place->evicted_key, before[place->slot].key);
	assert_int_equal(place->kept, !after.in_ring);
}

static void snapshot(machine *m, cache_slot *out)
{
	for (uint32_t i = 0; i < m->config.slots; i++)
		cache_get_slot(m->c, i, &out[i]);
}

static void place(machine *m, bool hint)
{
	cache_slot before[64];
	cache_placement placement;
	cache_stats stats;
	uint32_t key = absent_key(m);
	ufm_status status;

	if (key == UFM_KEY_NONE)
		return;
	snapshot(m, before);
	cache_get_stats(m->c, &stats);
	status = hint ? cache_place_free(m->c, key, &placement) : cache_place(m->c, key, &placement);
	if (status == UFM_EBUSY) {
		m->busy++;
		assert_true(hint ? stats.free == 0 : stats.pinned == stats.slots);
	} else if (placement.slot == SLOT_NONE) {
		assert_int_equal(m->config.ring, 0);
		assert_int_equal(stats.free, 0);
	} else {
		assert_int_equal(status, UFM_OK);
		assert_true(!hint || placement.evicted_key == UFM_KEY_NONE);
		check_placement(m, key, &placement, before);
	}
}

static void end_load(machine *m)
{
	uint32_t index = rng_below(&m->r, m->config.slots);
	cache_slot view;

	cache_get_slot(m->c, index, &view);
	/* A stale generation must change nothing; cache_check sees it if it does. */
	if (view.generation && rng_below(&m->r, 4) == 0) {
		cache_slot after;

		cache_loaded(m->c, index, view.generation - 1);
		cache_load_failed(m->c, index, view.generation + 1);
		cache_get_slot(m->c, index, &after);
		assert_int_equal(after.state, view.state);
		return;
	}
	if (view.state == SLOT_LOADING && view.pins == 0 && rng_below(&m->r, 3) == 0) {
		cache_load_failed(m->c, index, view.generation);
		assert_int_equal(cache_find(m->c, view.key), SLOT_NONE);
	} else {
		cache_loaded(m->c, index, view.generation);
	}
}

static void pin(machine *m)
{
	uint32_t index = rng_below(&m->r, m->config.slots);
	cache_slot view;

	cache_get_slot(m->c, index, &view);
	if (view.state == SLOT_FREE || m->pin_count == PINS_MAX)
		return;
	cache_pin(m->c, index);
	m->pins[m->pin_count++] = index;
}

static void unpin(machine *m)
{
	uint32_t index;

	if (!m->pin_count)
		return;
	index = rng_below(&m->r, m->pin_count);
	cache_unpin(m->c, m->pins[index]);
	m->pins[index] = m->pins[--m->pin_count];
}

/* Long runs of pins and of unpins, so that a full and an idle cache are both reached. */
static void random_operation(machine *m, uint32_t step)
{
	bool pinning = step / 40 % 2 == 0;

	switch (rng_below(&m->r, 10)) {
	case 0:
		begin_event(m);
		break;
	case 1:
		end_event(m);
		break;
	case 2:
	case 3:
	case 4:
		place(m, false);
		break;
	case 5:
		place(m, true);
		break;
	case 6:
	case 7:
		end_load(m);
		break;
	default:
		pinning ? pin(m) : unpin(m);
	}
}

/* The policy's inserted keys are the tenants of the main slots. */
static void check_inserted(machine *m)
{
	uint32_t main_tenants = 0;

	if (m->config.slots == m->config.ring)
		return;
	for (uint32_t i = 0; i < m->config.slots; i++) {
		cache_slot view;

		cache_get_slot(m->c, i, &view);
		if (view.in_ring || view.state == SLOT_FREE)
			continue;
		main_tenants++;
		assert_true(policy_witness_has(view.key));
	}
	assert_int_equal(main_tenants, policy_witness_count());
}

static uint32_t run_machine(const ufm_policy *policy, uint32_t slots, uint32_t ring, uint64_t seed)
{
	machine m = {.config = {.slots = slots,
	                        .ring = ring,
	                        .layers = 2,
	                        .experts = 1 + (uint32_t)(seed % 13),
	                        .policy = policy_witness(policy)}};
	const char *why;

	rng_seed(&m.r, seed);
	m.keys = m.config.layers * m.config.experts;
	assert_int_equal(cache_open(&m.config, &m.c), UFM_OK);
	for (uint32_t step = 0; step < 600; step++) {
		random_operation(&m, step);
		if (!cache_check(m.c, &why))
			fail_msg("%s slots %u ring %u seed %llu step %u: %s", policy->name, slots, ring,
			         (unsigned long long)seed, step, why);
		check_inserted(&m);
	}
	cache_close(m.c);
	return m.busy;
}

static void test_random_operations(void **state)
{
	const uint32_t shapes[][2] = {{1, 0}, {1, 1}, {2, 1}, {2, 2}, {3, 2},
	                              {5, 0}, {7, 3}, {9, 4}, {16, 4}};
	uint32_t busy = 0;

	(void)state;
	for (uint32_t p = 0; policy_at(p); p++) {
		for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
			for (uint64_t seed = 1; seed <= 12; seed++)
				busy += run_machine(policy_at(p), shapes[i][0], shapes[i][1], seed);
		}
	}
	assert_true(busy > 0);
}

/* ------------------------------------------------------------------ sweeps */

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
static void test_freq_is_scan_proof_over_layers(void **state)
{
	const uint32_t shapes[][4] = {/* layers, experts, slots, ring */
	                              {2, 5, 6, 2},    {3, 8, 10, 0},    {4, 16, 17, 3},
	                              {12, 31, 40, 4}, {24, 32, 300, 4}, {6, 7, 41, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		cache_config config = {.slots = shapes[i][2],
		                       .ring = shapes[i][3],
		                       .layers = shapes[i][0],
		                       .experts = shapes[i][1],
		                       .policy = &policy_freq};
		uint32_t smallest = UINT32_MAX;
		cache *c;
		rng r;

		rng_seed(&r, i);
		assert_int_equal(cache_open(&config, &c), UFM_OK);
		for (uint32_t cycle = 0; cycle < 60; cycle++) {
			uint32_t hits = sweep_cycle(c, &r, config.layers, config.experts, cycle == 0);

			if (cycle && hits < smallest)
				smallest = hits;
		}
		cache_close(c);
		print_message(
			"%u layers of %u experts swept, %u slots, ring %u: at least %u hits a cycle\n",
			config.layers, config.experts, config.slots, config.ring, smallest);
		assert_true(smallest >= config.slots - config.ring);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_a_swept_layer_keeps_every_slot),
		cmocka_unit_test(test_freq_is_scan_proof_over_layers),
	};

	return cmocka_run_group_tests_name("cache properties", tests, NULL, NULL);
}
