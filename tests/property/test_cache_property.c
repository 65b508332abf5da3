/* SPDX-License-Identifier: MIT */
/* What must hold for a cache and its policies whatever is asked of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "policy/divided.h"
#include "policy/registry.h"
#include "support/replay.h"

/* ------------------------------------------------------------------ random operations */

#define OPEN_EVENTS_MAX 3
#define EVENT_MEMBERS_MAX 8
#define PINS_MAX 64
#define SLOTS_MAX 20

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
	/* cases seen, which proves that they were reached */
	uint32_t busy, moves, evictions, resize_busy;
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
	cache_slot before[SLOTS_MAX] = {0};
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

/* ------------------------------------------------------------------ resizing */

/* What a resize asks of its caller: no event in progress, no load in flight. */
static void come_to_rest(machine *m)
{
	while (m->event_count)
		end_event(m);
	for (uint32_t i = 0; i < m->config.slots; i++) {
		cache_slot view;

		cache_get_slot(m->c, i, &view);
		if (view.state == SLOT_LOADING)
			cache_loaded(m->c, i, view.generation);
	}
}

static bool must_be_busy(machine *m, const cache_slot *before, uint32_t slots, uint32_t ring)
{
	uint32_t pinned = 0;
	bool cut = false;

	for (uint32_t i = 0; i < m->config.slots; i++) {
		pinned += before[i].pins > 0;
		cut = cut || (before[i].pins > 0 && i >= slots);
	}
	return cut || pinned > slots - ring;
}

/* Every tenant is where it was, where a move took it, or gone; who is pinned has not moved. */
static void check_tenants(machine *m, const cache_slot *before, uint32_t slots,
                          const cache_move *moves, const cache_resized *done)
{
	uint32_t tenants = 0, gone = 0, moved = 0;

	for (uint32_t i = 0; i < m->config.slots; i++) {
		uint32_t now;

		if (before[i].state == SLOT_FREE)
			continue;
		tenants++;
		now = cache_find(m->c, before[i].key);
		gone += now == SLOT_NONE;
		if (now == SLOT_NONE)
			assert_int_equal(before[i].pins, 0);
		if (now == SLOT_NONE || now == i)
			continue;
		assert_true(moved < done->moves && i >= slots && now < slots);
		assert_int_equal(moves[moved].from, i);
		assert_int_equal(moves[moved].to, now);
		moved++;
	}
	assert_int_equal(moved, done->moves);
	assert_int_equal(gone, done->evictions);
	assert_int_equal(gone, tenants > slots ? tenants - slots : 0);
}

static void end_moves(machine *m, const cache_move *moves, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		cache_slot view;

		cache_get_slot(m->c, moves[i].to, &view);
		assert_int_equal(view.state, SLOT_LOADING);
		assert_int_equal(view.generation, moves[i].generation);
		if (rng_below(&m->r, 3))
			cache_loaded(m->c, moves[i].to, moves[i].generation);
		else
			cache_load_failed(m->c, moves[i].to, moves[i].generation);
	}
}

static void refused(machine *m, const cache_slot *before)
{
	cache_slot after[SLOTS_MAX];

	snapshot(m, after);
	for (uint32_t i = 0; i < m->config.slots; i++) {
		assert_int_equal(after[i].state, before[i].state);
		assert_int_equal(after[i].key, before[i].key);
		assert_int_equal(after[i].generation, before[i].generation);
		assert_int_equal(after[i].in_ring, before[i].in_ring);
	}
	policy_witness_places(m->config.slots - m->config.ring);
	m->resize_busy++;
}

static void resize(machine *m)
{
	uint32_t slots = 1 + rng_below(&m->r, m->config.slots_max);
	uint32_t ring = rng_below(&m->r, slots + 1);
	cache_slot before[SLOTS_MAX] = {0};
	cache_move moves[SLOTS_MAX];
	cache_resized done;
	ufm_status status;

	come_to_rest(m);
	snapshot(m, before);
	policy_witness_places(m->config.slots_max);
	status = cache_resize(m->c, slots, ring, moves, &done);
	assert_int_equal(status, must_be_busy(m, before, slots, ring) ? UFM_EBUSY : UFM_OK);
	if (status != UFM_OK) {
		refused(m, before);
		return;
	}
	check_tenants(m, before, slots, moves, &done);
	m->config.slots = slots;
	m->config.ring = ring;
	policy_witness_places(slots - ring);
	end_moves(m, moves, done.moves);
	m->moves += done.moves;
	m->evictions += done.evictions;
}

/* Long runs of pins and of unpins, so that a full and an idle cache are both reached. */
static void random_operation(machine *m, uint32_t step)
{
	bool pinning = step / 40 % 2 == 0;

	switch (rng_below(&m->r, 10 + (m->config.slots_max > 0))) {
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
	case 8:
	case 9:
		pinning ? pin(m) : unpin(m);
		break;
	default:
		resize(m);
	}
}

/* The policy's inserted keys are the tenants of the main slots. */
static void check_inserted(machine *m)
{
	uint32_t main_tenants = 0;

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

static machine run_machine(const ufm_policy *policy, uint32_t slots, uint32_t ring,
                           uint32_t slots_max, uint64_t seed)
{
	machine m = {.config = {.slots = slots,
	                        .ring = ring,
	                        .slots_max = slots_max,
	                        .layers = 2,
	                        .experts = 1 + (uint32_t)(seed % 13),
	                        .policy = policy_witness(policy)}};
	const char *why;

	rng_seed(&m.r, seed);
	m.keys = m.config.layers * m.config.experts;
	assert_int_equal(cache_open(&m.config, &m.c), UFM_OK);
	policy_witness_places(slots - ring);
	for (uint32_t step = 0; step < 600; step++) {
		random_operation(&m, step);
		if (!cache_check(m.c, &why))
			fail_msg("%s slots %u ring %u of %u seed %llu step %u: %s", policy->name, slots, ring,
			         slots_max, (unsigned long long)seed, step, why);
		check_inserted(&m);
	}
	cache_close(m.c);
	return m;
}

/* All policies of the registry, then those of them that can divide a cache; NULL past the end. */
static const ufm_policy *subject(uint32_t index)
{
	uint32_t count = 0;

	while (policy_at(count))
		count++;
	if (index < count)
		return policy_at(index);
	for (uint32_t p = 0; p < count; p++) {
		const ufm_policy *divided = policy_divided(policy_at(p));

		if (divided && index-- == count)
			return divided;
	}
	return NULL;
}

static void test_random_operations(void **state)
{
	const uint32_t shapes[][2] = {{1, 0}, {1, 1}, {2, 1}, {2, 2}, {3, 2},
	                              {5, 0}, {7, 3}, {9, 4}, {16, 4}};
	uint32_t busy = 0;

	(void)state;
	for (uint32_t p = 0; subject(p); p++) {
		for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
			for (uint64_t seed = 1; seed <= 12; seed++)
				busy += run_machine(subject(p), shapes[i][0], shapes[i][1], 0, seed).busy;
		}
	}
	assert_true(busy > 0);
}

static void test_random_operations_and_sizes(void **state)
{
	const uint32_t shapes[][2] = {{1, 0}, {1, 1}, {2, 2}, {5, 2}, {16, 4}, {20, 0}};
	uint32_t moves = 0, evictions = 0, busy = 0;
	uint64_t first = clock_now_ns();

	(void)state;
	print_message("seeds from %llu\n", (unsigned long long)first);
	for (uint32_t p = 0; subject(p); p++) {
		for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
			for (uint64_t seed = 0; seed < 20; seed++) {
				machine m =
					run_machine(subject(p), shapes[i][0], shapes[i][1], SLOTS_MAX, first + seed);

				moves += m.moves;
				evictions += m.evictions;
				busy += m.resize_busy;
			}
		}
	}
	assert_true(moves > 0 && evictions > 0 && busy > 0);
}

/* ------------------------------------------------------------------ two steps for one */

#define TWIN_SLOTS 24u
#define TWIN_EXPERTS 16u

/* Several keys, each placed and pinned; and the same reserved first and decided together. */
static void place_in_turn(cache *c, const uint32_t *keys, uint32_t n, cache_placement *out)
{
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(cache_place(c, keys[i], &out[i]), UFM_OK);
		cache_pin(c, out[i].slot);
	}
}

static uint32_t place_together(cache *c, const uint32_t *keys, uint32_t n, cache_placement *out)
{
	uint32_t decided = 0, reserved = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (cache_reserve(c, keys[i], &out[i])) {
			reserved++;
		} else {
			for (; decided < i; decided++)
				out[decided].kept = cache_decide(c, keys[decided]);
			assert_int_equal(cache_place(c, keys[i], &out[i]), UFM_OK);
			decided = i + 1;
		}
		cache_pin(c, out[i].slot);
	}
	for (; decided < n; decided++)
		out[decided].kept = cache_decide(c, keys[decided]);
	return reserved;
}

static void compare_caches(const cache *a, const cache *b, uint32_t slots)
{
	for (uint32_t i = 0; i < slots; i++) {
		cache_slot left, right;
		cache_get_slot(a, i, &left);
		cache_get_slot(b, i, &right);
		assert_int_equal(left.key, right.key);
		assert_int_equal(left.in_ring, right.in_ring);
		assert_int_equal(left.passing, right.passing);
		assert_int_equal(left.generation, right.generation);
	}
}

/* One event of a random layer: what of it misses is placed in both ways. */
static uint32_t twin_event(rng *r, cache *a, cache *b, uint32_t layers)
{
	cache_member members[TWIN_EXPERTS];
	cache_placement left[TWIN_EXPERTS], right[TWIN_EXPERTS];
	uint32_t keys[TWIN_EXPERTS], n = 0, missing = 0, layer = rng_below(r, layers);
	uint32_t tokens = rng_below(r, 8) == 0 ? 2 : 1;

	for (uint32_t e = 0; e < TWIN_EXPERTS; e++)
		if (rng_below(r, 3) == 0)
			members[n++] = (cache_member){.expert = e, .tokens = tokens, .next_event = UFM_NEVER};
	cache_event_begin(a, layer, members, n);
	cache_event_begin(b, layer, members, n);
	for (uint32_t i = 0; i < n && missing < 3; i++) {
		uint32_t key = layer * TWIN_EXPERTS + members[i].expert;
		assert_int_equal(cache_find(a, key), cache_find(b, key));
		if (cache_find(a, key) == SLOT_NONE)
			keys[missing++] = key;
	}
	place_in_turn(a, keys, missing, left);
	uint32_t reserved = place_together(b, keys, missing, right);
	for (uint32_t i = 0; i < missing; i++) {
		assert_int_equal(left[i].slot, right[i].slot);
		assert_int_equal(left[i].evicted_key, right[i].evicted_key);
		assert_int_equal(left[i].kept, right[i].kept);
		cache_loaded(a, left[i].slot, left[i].generation);
		cache_loaded(b, right[i].slot, right[i].generation);
		cache_unpin(a, left[i].slot);
		cache_unpin(b, right[i].slot);
	}
	cache_event_end(a, layer, members, n);
	cache_event_end(b, layer, members, n);
	return reserved;
}

/* Whatever the policy, to reserve and to decide comes to what placing comes to, in thousands of events: an order of the ring
 * that differed once would show. */
static void test_reserving_is_placing(void **state)
{
	(void)state;
	for (uint32_t p = 0; policy_at(p); p++) {
		if (policy_at(p)->flags & UFM_POLICY_OFFLINE)
			continue;
		for (uint32_t ring = 1; ring <= 6; ring++) {
			cache_config config = {.slots = TWIN_SLOTS,
			                       .ring = ring,
			                       .layers = 3,
			                       .experts = TWIN_EXPERTS,
			                       .policy = policy_at(p)};
			cache *a, *b;
			rng r;
			uint32_t reserved = 0;
			rng_seed(&r, rng_mix(clock_now_ns(), p + ring));
			assert_int_equal(cache_open(&config, &a), UFM_OK);
			assert_int_equal(cache_open(&config, &b), UFM_OK);
			for (uint32_t event = 0; event < 3000; event++) {
				reserved += twin_event(&r, a, b, config.layers);
				compare_caches(a, b, TWIN_SLOTS);
			}
			assert_true(reserved > 300);
			cache_close(a);
			cache_close(b);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_random_operations_and_sizes),
		cmocka_unit_test(test_reserving_is_placing),
	};

	return cmocka_run_group_tests_name("cache properties", tests, NULL, NULL);
}
