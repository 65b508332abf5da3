/* SPDX-License-Identifier: MIT */
/* The offline bounds: exact on tiny traces, and never beaten by a policy of their kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/npy.h"
#include "policy/registry.h"
#include "support/replay.h"

#define TRACE_PATH "tests/data/traces/gpt-oss-20b-cut.npy"

/* ------------------------------------------------------------------ exhaustive search */

#define KEYS_MAX 6
#define EVENTS_MAX 8
#define CONTENTS (1u << KEYS_MAX)

/* Contents are sets of keys, one bit each. Every content that may follow another is tried. */
typedef struct search {
	const trace *t;
	uint32_t slots;
	bool bypass;
	int best[EVENTS_MAX][CONTENTS]; /* hits from here on; -1: not known */
} search;

static uint32_t size_of(uint32_t set)
{
	return (uint32_t)__builtin_popcount(set);
}

static uint32_t members_of(const trace *t, uint32_t event)
{
	uint32_t set = 0;

	for (uint32_t i = 0; i < t->events[event].n; i++)
		set |= 1u << t->members[t->events[event].first + i].expert;
	return set;
}

static int best_from(search *s, uint32_t event, uint32_t content);

/* min-bypass: whatever was there or came may stay, as far as it fits. min: all members stay, or, if
 * there are more than slots, nothing else does. */
static bool may_stay(const search *s, uint32_t kept, uint32_t members)
{
	if (size_of(kept) > s->slots)
		return false;
	return s->bypass || (members & ~kept) == 0 ||
	       (size_of(members) > s->slots && (kept & ~members) == 0);
}

static int best_after(search *s, uint32_t event, uint32_t content, uint32_t members)
{
	uint32_t available = content | members;
	int best = 0;

	for (uint32_t kept = available;; kept = (kept - 1) & available) {
		if (may_stay(s, kept, members)) {
			int hits = best_from(s, event + 1, kept);

			best = hits > best ? hits : best;
		}
		if (kept == 0)
			return best;
	}
}

static int best_from(search *s, uint32_t event, uint32_t content)
{
	uint32_t members;
	int *known, hits;

	if (event == s->t->event_count)
		return 0;
	known = &s->best[event][content];
	if (*known >= 0)
		return *known;
	members = members_of(s->t, event);
	hits = (int)size_of(content & members) + best_after(s, event, content, members);
	*known = hits;
	return hits;
}

static uint64_t exhaustive(const trace *t, uint32_t slots, bool bypass)
{
	search s = {.t = t, .slots = slots, .bypass = bypass};

	memset(s.best, -1, sizeof s.best);
	return (uint64_t)best_from(&s, 0, 0);
}

static void compare_with_search(const ufm_policy *policy, uint32_t members_max, uint64_t seed)
{
	bool bypass = policy->flags & UFM_POLICY_MAY_BYPASS;
	trace t;
	rng r;

	rng_seed(&r, seed);
	trace_random(&t, &r, 1, members_max + rng_below(&r, KEYS_MAX - members_max + 1),
	             1 + rng_below(&r, EVENTS_MAX), members_max, rng_unit(&r));
	for (uint32_t slots = 1; slots <= 4; slots++) {
		uint64_t found = replay_trace(&t, policy_witness(policy), slots, 0, NULL);
		uint64_t expected = exhaustive(&t, slots, bypass);

		if (found != expected)
			fail_msg("%s, seed %llu, events of up to %u, %u slots: %llu hits, expected %llu",
			         policy->name, (unsigned long long)seed, members_max, slots,
			         (unsigned long long)found, (unsigned long long)expected);
	}
	trace_free(&t);
}

#define TINY_TRACES 400

static void test_min_is_exact(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TINY_TRACES; seed++) {
		compare_with_search(&policy_min, 1, seed);
		compare_with_search(&policy_min, 2, seed);
		compare_with_search(&policy_min, 3, seed);
	}
}

static void test_min_bypass_is_exact(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= TINY_TRACES; seed++) {
		compare_with_search(&policy_min_bypass, 1, seed);
		compare_with_search(&policy_min_bypass, 2, seed);
		compare_with_search(&policy_min_bypass, 3, seed);
	}
}

/* A published bound once allowed what its kind may not do: the two must differ here. */
static void test_the_bounds_differ(void **state)
{
	const uint32_t keys[] = {0, 1, 0, 1, 0};
	trace t;

	(void)state;
	trace_init(&t, 1, 2, 5, 5);
	for (int i = 0; i < 5; i++) {
		trace_begin(&t, 0);
		trace_add(&t, keys[i]);
	}
	trace_link(&t);
	assert_int_equal(replay_trace(&t, &policy_min, 1, 0, NULL), 0);
	assert_int_equal(replay_trace(&t, &policy_min_bypass, 1, 0, NULL), 2);
	trace_free(&t);
}

/* ------------------------------------------------------------------ never beaten */

static void compare_with_bounds(const trace *t, uint32_t slots, uint32_t ring, const char *what,
                                uint64_t seed)
{
	uint64_t with_bypass = replay_trace(t, &policy_min_bypass, slots, 0, NULL);
	uint64_t admitting = replay_trace(t, &policy_min, slots, 0, NULL);

	assert_true(admitting <= with_bypass);
	for (uint32_t i = 0; policy_at(i); i++) {
		const ufm_policy *policy = policy_at(i);
		uint64_t hits = replay_trace(t, policy, slots, ring, NULL);
		bool may_bypass = policy->flags & UFM_POLICY_MAY_BYPASS;
		uint64_t bound = may_bypass ? with_bypass : admitting;

		if (hits > bound)
			fail_msg("%s on %s, seed %llu, %u slots, ring %u: %llu hits, more than the bound %llu",
			         policy->name, what, (unsigned long long)seed, slots, ring,
			         (unsigned long long)hits, (unsigned long long)bound);
	}
}

static void test_random_traces_never_beat_the_bound(void **state)
{
	const uint32_t slot_counts[] = {1, 2, 3, 4, 5, 8, 13, 24};

	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		uint32_t members_max = 1 + (uint32_t)(seed % 6);
		trace t;
		rng r;

		rng_seed(&r, seed);
		trace_random(&t, &r, 1 + (uint32_t)(seed % 3), 16, 400, members_max,
		             (double)(seed % 5) / 2);
		for (size_t i = 0; i < sizeof slot_counts / sizeof slot_counts[0]; i++) {
			for (uint32_t ring = 0; ring <= 4 && ring <= slot_counts[i]; ring++)
				compare_with_bounds(&t, slot_counts[i], ring, "a random trace", seed);
		}
		trace_free(&t);
	}
}

/* ------------------------------------------------------------------ recorded routing */

#define RECORDED_LAYERS 24
#define RECORDED_EXPERTS 32
#define RECORDED_TOP_K 4
#define POLICIES_MAX 16

static void open_recorded(npy_array *array)
{
	if (npy_open(TRACE_PATH, array) != UFM_OK)
		fail_msg("%s (run from the top folder)", ufm_last_error());
	assert_int_equal(array->type, NPY_U8);
	assert_int_equal(array->dims, 3);
	assert_int_equal(array->shape[1], RECORDED_LAYERS);
	assert_int_equal(array->shape[2], RECORDED_TOP_K);
}

static void recorded_trace(trace *t, const npy_array *array, uint32_t layer)
{
	trace_from_ids(t, array->data, array->shape[0], RECORDED_LAYERS, RECORDED_TOP_K,
	               RECORDED_EXPERTS, layer);
}

static void test_recorded_routing_never_beats_the_bound(void **state)
{
	const uint32_t slot_counts[] = {RECORDED_TOP_K + 1, 8, 13, 24};
	npy_array array;

	(void)state;
	open_recorded(&array);
	for (uint32_t layer = 0; layer < RECORDED_LAYERS; layer += 5) {
		trace t;

		recorded_trace(&t, &array, layer);
		for (size_t i = 0; i < sizeof slot_counts / sizeof slot_counts[0]; i++) {
			for (uint32_t ring = 0; ring <= 4; ring += 2)
				compare_with_bounds(&t, slot_counts[i], ring, "a recorded layer", layer);
		}
		trace_free(&t);
	}
	npy_close(&array);
}

static void test_recorded_layers_in_turn_never_beat_the_bound(void **state)
{
	npy_array array;
	trace t;

	(void)state;
	open_recorded(&array);
	recorded_trace(&t, &array, UINT32_MAX);
	compare_with_bounds(&t, 97, 4, "all recorded layers", 0);
	compare_with_bounds(&t, 384, 4, "all recorded layers", 0);
	trace_free(&t);
	npy_close(&array);
}

/* Why cycle is the default: on recorded routing it keeps more than the others up to half of the experts;
 * above, where little is left to gain, nobody more than a thousandth of the uses. */
static void test_the_default_keeps_most_of_recorded_routing(void **state)
{
	const uint32_t slot_counts[] = {8, 12, 16, 24};
	npy_array array;

	(void)state;
	open_recorded(&array);
	for (size_t i = 0; i < sizeof slot_counts / sizeof slot_counts[0]; i++) {
		uint64_t hits[POLICIES_MAX] = {0}, uses = 0;

		for (uint32_t layer = 0; layer < RECORDED_LAYERS; layer++) {
			trace t;

			recorded_trace(&t, &array, layer);
			uses += t.member_count;
			for (uint32_t p = 0; policy_at(p); p++)
				hits[p] += replay_trace(&t, policy_at(p), slot_counts[i], 0, NULL);
			trace_free(&t);
		}
		for (uint32_t p = 0; policy_at(p); p++)
			print_message("%-11s %2u of 32: %.3f\n", policy_at(p)->name, slot_counts[i],
			              (double)hits[p] / (double)uses);
		assert_string_equal(policy_at(0)->name, POLICY_DEFAULT_NAME);
		for (uint32_t p = 1; !(policy_at(p)->flags & UFM_POLICY_OFFLINE); p++)
			assert_true(slot_counts[i] <= RECORDED_EXPERTS / 2 ? hits[0] > hits[p]
			                                                   : hits[0] + uses / 1000 >= hits[p]);
	}
	npy_close(&array);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_min_is_exact),
		cmocka_unit_test(test_min_bypass_is_exact),
		cmocka_unit_test(test_the_bounds_differ),
		cmocka_unit_test(test_random_traces_never_beat_the_bound),
		cmocka_unit_test(test_recorded_routing_never_beats_the_bound),
		cmocka_unit_test(test_recorded_layers_in_turn_never_beat_the_bound),
		cmocka_unit_test(test_the_default_keeps_most_of_recorded_routing),
	};

	return cmocka_run_group_tests_name("policy bounds", tests, NULL, NULL);
}
