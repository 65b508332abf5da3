/* SPDX-License-Identifier: MIT */
/* Replay: which tokens form a step, what an event hits, what is counted; predictors against sums by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "policy/divided.h"
#include "policy/registry.h"
#include "replay/future.h"
#include "replay/lanes.h"
#include "replay/predict.h"
#include "replay/replay.h"
#include "support/assert_error.h"

/* ---- traces by hand */

typedef struct made {
	trace t;
	uint16_t ids[4096];
	uint64_t starts[64];
} made;

static trace *make(made *m, uint32_t layers, uint32_t ranks, uint32_t experts, uint64_t tokens)
{
	m->t = (trace){.tokens = tokens,
	               .layers = layers,
	               .ranks = ranks,
	               .experts = experts,
	               .sequences = 1,
	               .ids = m->ids,
	               .starts = m->starts};
	m->starts[0] = 0;
	m->starts[1] = tokens;
	return &m->t;
}

/* One layer, one expert a token. */
static trace *letters(made *m, uint32_t experts, const char *text)
{
	for (size_t i = 0; text[i]; i++)
		m->ids[i] = (uint16_t)(text[i] - 'a');
	return make(m, 1, 1, experts, strlen(text));
}

static trace *draw(made *m, uint64_t seed, uint32_t layers, uint32_t ranks, uint32_t experts,
                   uint64_t tokens)
{
	rng r;
	rng_seed(&r, seed);
	for (uint64_t e = 0; e < tokens * layers; e++) {
		for (uint32_t k = 0; k < ranks; k++) {
			bool again = true;
			while (again) {
				m->ids[e * ranks + k] = (uint16_t)rng_below(&r, experts);
				again = false;
				for (uint32_t before = 0; before < k; before++)
					again |= m->ids[e * ranks + before] == m->ids[e * ranks + k];
			}
		}
	}
	return make(m, layers, ranks, experts, tokens);
}

static replay_count run(const replay_config *config)
{
	replay_count total;
	assert_int_equal(replay_run(config, &total, NULL), UFM_OK);
	return total;
}

static replay_config basic(const trace *t, const ufm_policy *policy, uint32_t slots)
{
	return (replay_config){.trace = t, .policy = policy, .slots = slots, .batch = 1};
}

/* ---- events */

static void counts_lru_and_belady_by_hand(void **state)
{
	(void)state;
	made m;
	/* lru of 2: a b miss, a hits, c displaces b, b displaces a, a displaces c. */
	replay_config c = basic(letters(&m, 3, "abacba"), &policy_lru, 2);
	replay_count n = run(&c);
	assert_int_equal(n.uses, 6);
	assert_int_equal(n.hits, 1);
	/* min: c displaces the one that comes later, a, so that b hits. */
	c.policy = &policy_min;
	assert_int_equal(run(&c).hits, 2);
	/* min-bypass: c passes by, so that b and a hit. */
	c.policy = &policy_min_bypass;
	assert_int_equal(run(&c).hits, 3);
}

static void a_slot_more_than_experts_changes_nothing(void **state)
{
	(void)state;
	made m;
	replay_config c = basic(letters(&m, 3, "abcabcabc"), &policy_lru, 3);
	assert_int_equal(run(&c).hits, 6);
	c.slots = 4000;
	assert_int_equal(run(&c).hits, 6);
	c.slots = 1;
	assert_int_equal(run(&c).hits, 0);
}

/* a b | c a with room for 2: c displaces b though a is older, because a is a member. */
static void members_are_not_evicted_by_their_own_event(void **state)
{
	(void)state;
	made m;
	static const uint16_t ids[] = {0, 1, 2, 0, 2, 0};
	memcpy(m.ids, ids, sizeof ids);
	replay_config c = basic(make(&m, 1, 2, 3, 3), &policy_lru, 2);
	assert_int_equal(run(&c).hits, 3);
	/* One slot: a has it, and everybody else passes by while a is a member. */
	c.slots = 1;
	assert_int_equal(run(&c).hits, 2);
}

static void an_event_of_fewer_members_counts_fewer_uses(void **state)
{
	(void)state;
	made m;
	static const uint16_t ids[] = {0, TRACE_NONE, TRACE_NONE, TRACE_NONE, 0, 1};
	memcpy(m.ids, ids, sizeof ids);
	replay_config c = basic(make(&m, 1, 2, 2, 3), &policy_lru, 2);
	replay_count n = run(&c);
	assert_int_equal(n.uses, 3);
	assert_int_equal(n.hits, 1);
}

/* ---- scopes */

static void a_cache_for_each_layer_or_one_for_all(void **state)
{
	(void)state;
	made m;
	/* Two layers that both ask for expert 0 first and 1 then, in turn: with 2 slots of its own each layer
	 * keeps them; one pool of 2 slots keeps nothing in LRU's order. */
	for (uint32_t i = 0; i < 12; i++)
		m.ids[i] = (uint16_t)(i / 2 % 2);
	replay_config c = basic(make(&m, 2, 1, 2, 6), &policy_lru, 2);
	replay_count layers[2], total;
	c.scope = REPLAY_LAYER;
	assert_int_equal(replay_run(&c, &total, layers), UFM_OK);
	assert_int_equal(total.hits, 8);
	assert_int_equal(layers[0].hits, 4);
	assert_int_equal(layers[1].uses, 6);
	c.scope = REPLAY_POOL;
	assert_int_equal(run(&c).hits, 0);
	c.slots = 4;
	assert_int_equal(run(&c).hits, 8);
}

/* ---- steps */

static uint32_t collect(lanes *l, uint32_t layer, char *text)
{
	uint32_t n = lanes_members(l, layer);
	for (uint32_t i = 0; i < n; i++)
		text[i] = (char)('a' + l->members[i].expert);
	text[n] = '\0';
	return n;
}

static void steps_are(const replay_config *c, const char *const *expected)
{
	lanes l;
	char text[64];
	assert_int_equal(lanes_open(c, &l), UFM_OK);
	for (; *expected; expected++) {
		assert_true(lanes_step(&l));
		collect(&l, 0, text);
		assert_string_equal(text, *expected);
	}
	assert_false(lanes_step(&l));
	lanes_close(&l);
}

static void one_sequence_is_cut_into_runs(void **state)
{
	(void)state;
	made m;
	replay_config c = basic(letters(&m, 26, "abcdefg"), &policy_lru, 1);
	/* Of 7 tokens lane 0 begins at 0, lane 1 at 2, lane 2 at 4. */
	c.batch = 3;
	steps_are(&c, (const char *const[]){"ace", "bdf", "g", NULL});
	/* More lanes than tokens: as many as there are. */
	c.batch = 9;
	steps_are(&c, (const char *const[]){"abcdefg", NULL});
}

static void lanes_take_the_next_sequence(void **state)
{
	(void)state;
	made m;
	replay_config c = basic(letters(&m, 26, "abcdefghij"), &policy_lru, 1);
	static const uint64_t starts[] = {0, 1, 5, 5, 7, 10};
	memcpy(m.starts, starts, sizeof starts);
	m.t.sequences = 5; /* a, bcde, none, fg, hij */
	c.batch = 2;
	steps_are(&c, (const char *const[]){"ab", "fc", "gd", "he", "i", "j", NULL});
	/* Every other one: a, none, hij. */
	c.batch = 1;
	c.parts = 2;
	steps_are(&c, (const char *const[]){"a", "h", "i", "j", NULL});
	c.part = 1;
	steps_are(&c, (const char *const[]){"b", "c", "d", "e", "f", "g", NULL});
}

static void a_union_is_in_order_of_first_appearance(void **state)
{
	(void)state;
	made m;
	lanes l;
	static const uint16_t ids[] = {3, 1, 1, 2, 3, 0};
	memcpy(m.ids, ids, sizeof ids);
	replay_config c = basic(make(&m, 1, 2, 4, 3), &policy_lru, 1);
	c.batch = 3;
	assert_int_equal(lanes_open(&c, &l), UFM_OK);
	assert_true(lanes_step(&l));
	assert_int_equal(lanes_members(&l, 0), 4);
	static const uint32_t experts[] = {3, 1, 2, 0}, tokens[] = {2, 2, 1, 1};
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(l.members[i].expert, experts[i]);
		assert_int_equal(l.members[i].tokens, tokens[i]);
	}
	lanes_close(&l);
}

static void only_steps_asked_for_are_counted(void **state)
{
	(void)state;
	made m;
	replay_config c = basic(letters(&m, 2, "aaaaaaaaaa"), &policy_lru, 1);
	c.warmup_steps = 3;
	assert_int_equal(run(&c).uses, 7);
	assert_int_equal(run(&c).hits, 7);
	c.steps = 4;
	assert_int_equal(run(&c).uses, 4);
	c.warmup_steps = 100;
	assert_int_equal(run(&c).uses, 0);
}

static void cold_caches_forget_between_sequences(void **state)
{
	(void)state;
	made m;
	replay_config c = basic(letters(&m, 2, "aaaaaa"), &policy_lru, 1);
	static const uint64_t starts[] = {0, 2, 4, 6};
	memcpy(m.starts, starts, sizeof starts);
	m.t.sequences = 3;
	assert_int_equal(run(&c).hits, 5);
	c.cold = true;
	assert_int_equal(run(&c).hits, 3);
}

/* ---- the future */

static void next_uses_are_the_next_events(void **state)
{
	(void)state;
	made m;
	future f;
	replay_config c = basic(letters(&m, 3, "abcab"), &policy_min, 1);
	static const uint32_t expected[] = {3, 4, UINT32_MAX, UINT32_MAX, UINT32_MAX};
	assert_int_equal(future_open(&c, &f), UFM_OK);
	assert_int_equal(f.count, 5);
	assert_memory_equal(f.next, expected, sizeof expected);
	future_close(&f);
	/* What comes after the steps asked for is no future. */
	c.steps = 4;
	assert_int_equal(future_open(&c, &f), UFM_OK);
	assert_int_equal(f.count, 4);
	assert_int_equal(f.next[1], UINT32_MAX);
	future_close(&f);
}

static void a_shared_future_gives_the_same(void **state)
{
	(void)state;
	made m;
	future f;
	replay_config c = basic(draw(&m, 5, 3, 2, 8, 200), &policy_min_bypass, 3);
	for (c.batch = 1; c.batch <= 7; c.batch += 3) {
		c.future = NULL;
		uint64_t own = run(&c).hits;
		assert_int_equal(future_open(&c, &f), UFM_OK);
		c.future = &f;
		assert_int_equal(run(&c).hits, own);
		future_close(&f);
	}
}

static void no_policy_passes_its_bound(void **state)
{
	(void)state;
	made m;
	for (uint64_t seed = 0; seed < 40; seed++) {
		draw(&m, seed, 1 + (uint32_t)(seed % 3), 1 + (uint32_t)(seed % 4), 9, 100);
		for (uint32_t i = 0; policy_at(i); i++) {
			replay_config c = basic(&m.t, policy_at(i), 1 + (uint32_t)(seed % 7));
			c.scope = seed & 1 ? REPLAY_POOL : REPLAY_LAYER;
			c.batch = 1 + (uint32_t)(seed % 5);
			uint64_t hits = run(&c).hits;
			c.policy = replay_bound_of(&c);
			assert_true(hits <= run(&c).hits);
		}
	}
}

/* A cache that is divided is one pool under the policy's divided table; a bound is not divided. */
static void auto_divides_one_pool(void **state)
{
	(void)state;
	made m;
	draw(&m, 3, 3, 3, 9, 100);
	for (uint32_t i = 0; policy_at(i); i++) {
		bool offline = policy_at(i)->flags & UFM_POLICY_OFFLINE;
		replay_config c = basic(&m.t, policy_at(i), 11);
		c.scope = REPLAY_AUTO;
		uint64_t hits = run(&c).hits;
		assert_ptr_equal(replay_bound_of(&c),
		                 offline && policy_at(i) == &policy_min ? &policy_min : &policy_min_bypass);
		c.scope = REPLAY_POOL;
		c.policy = offline ? policy_at(i) : policy_divided(policy_at(i));
		assert_int_equal(run(&c).hits, hits);
	}
}

static void auto_refuses_a_policy_that_cannot_be_divided(void **state)
{
	(void)state;
	made m;
	draw(&m, 3, 2, 2, 9, 10);
	ufm_policy stranger = policy_lru;
	stranger.name = "stranger";
	replay_config c = basic(&m.t, &stranger, 4);
	c.scope = REPLAY_POOL;
	assert_true(run(&c).uses > 0);
	c.scope = REPLAY_AUTO;
	replay_count total;
	assert_int_equal(replay_run(&c, &total, NULL), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "stranger"));
}

static void a_ring_never_passes_the_bound_without_one(void **state)
{
	(void)state;
	made m;
	for (uint64_t seed = 0; seed < 40; seed++) {
		draw(&m, seed, 2, 3, 9, 100);
		for (uint32_t i = 0; policy_at(i); i++) {
			replay_config c = basic(&m.t, policy_at(i), 4 + (uint32_t)(seed % 12));
			if (policy_at(i)->flags & UFM_POLICY_OFFLINE)
				continue;
			c.scope = REPLAY_POOL;
			c.ring = 2 + (uint32_t)(seed % 3);
			c.together = 1 + (uint32_t)(seed % 2);
			uint64_t hits = run(&c).hits;
			c.policy = replay_bound_of(&c);
			assert_ptr_equal(c.policy, &policy_min_bypass);
			c.ring = 0;
			assert_true(hits <= run(&c).hits);
		}
	}
}

/* ---- predictors */

static void guesses_follow_what_was_popular_or_came_along(void **state)
{
	(void)state;
	made m;
	/* Layer 0 alternates between 0 and 1; layer 1 asks for 2 after 0 and for 3 after 1. */
	for (uint32_t token = 0; token < 100; token++) {
		m.ids[2 * token] = (uint16_t)(token % 2);
		m.ids[2 * token + 1] = (uint16_t)(2 + token % 2);
	}
	make(&m, 2, 1, 8, 100);
	for (uint32_t kind = 0; kind < 2; kind++) {
		static const uint32_t guesses[] = {1, 2};
		predictor *p;
		replay_config c = basic(&m.t, &policy_lru, 1);
		c.warmup_steps = 10;
		assert_int_equal(predictor_open((predict_kind)kind, &m.t, guesses, 2, &p), UFM_OK);
		replay_observer observer = predictor_observer(p);
		c.observer = &observer;
		replay_count n = run(&c);
		predict_count one = predictor_count(p, 0), two = predictor_count(p, 1);
		assert_int_equal(one.uses, 180);
		assert_int_equal(one.misses, n.uses - n.hits);
		/* The most popular was the last one, never the next; who came along with the event before is sure. */
		assert_int_equal(one.guessed, kind == PREDICT_POPULARITY ? 0 : 180);
		assert_int_equal(two.guessed, 180);
		/* What is resident is no guess: with one slot the other of the two remains. */
		assert_int_equal(one.fetched, 180);
		predictor_close(p);
	}
}

static void wrong_guesses_are_refused(void **state)
{
	(void)state;
	made m;
	predictor *p;
	const uint32_t none = 0, many = PREDICT_GUESSES_MAX + 1;
	letters(&m, 2, "ab");
	assert_error(predictor_open(PREDICT_POPULARITY, &m.t, &none, 1, &p), UFM_EINVAL, "guesses");
	assert_error(predictor_open(PREDICT_POPULARITY, &m.t, &many, 1, &p), UFM_EINVAL, "guesses");
	assert_error(predictor_open(PREDICT_POPULARITY, &m.t, &many, 0, &p), UFM_EINVAL, "guesses");
}

/* ---- refusals */

static void refused(replay_config c, const char *words)
{
	replay_count total;
	assert_error(replay_run(&c, &total, NULL), UFM_EINVAL, words);
	assert_int_equal(total.uses, 0);
}

static void what_cannot_be_is_refused(void **state)
{
	(void)state;
	made m;
	replay_config good = basic(letters(&m, 4, "abcd"), &policy_lru, 3), c;
	c = good;
	c.slots = 0;
	refused(c, "slots: 0");
	c = good;
	c.batch = 0;
	refused(c, "batch: 0");
	c = good;
	c.ring = 1;
	refused(c, "ring: 1");
	c = good;
	c.ring = 4;
	refused(c, "ring: 4");
	c = good;
	c.ring = 2;
	c.policy = &policy_min;
	refused(c, "min, a bound");
	c = good;
	c.cold = true;
	c.batch = 2;
	refused(c, "cold");
	c = good;
	c.part = 2;
	c.parts = 2;
	refused(c, "part: 2");
	c = good;
	c.part = 1;
	c.parts = 2;
	refused(c, "the trace has only 1 sequence");
	m.t.sequences = 2;
	m.starts[1] = 2;
	m.starts[2] = 4;
	c = good;
	c.batch = 3;
	refused(c, "batch: 3");
	m.starts[2] = 2;
	c = good;
	c.part = 1;
	c.parts = 2;
	refused(c, "no token");
}

/* ---- every allocation fails in turn */

static uint64_t asked, fail_at;

static bool allow(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return asked++ != fail_at;
}

static ufm_status run_all(const trace *t)
{
	static const uint32_t guesses[] = {1};
	replay_config c = basic(t, &policy_min, 2);
	replay_count total;
	predictor *p = NULL;
	ufm_status status = replay_run(&c, &total, NULL);
	for (uint32_t kind = 0; kind < 2 && status == UFM_OK; kind++) {
		status = predictor_open((predict_kind)kind, t, guesses, 1, &p);
		if (status == UFM_OK)
			predictor_close(p);
	}
	return status;
}

static void a_failed_allocation_is_an_error_and_no_leak(void **state)
{
	(void)state;
	made m;
	draw(&m, 1, 2, 2, 5, 20);
	fail_at = UINT64_MAX;
	asked = 0;
	alloc_set_hook(allow, NULL);
	assert_int_equal(run_all(&m.t), UFM_OK);
	uint64_t count = asked;
	assert_true(count > 10);
	for (fail_at = 0; fail_at < count; fail_at++) {
		asked = 0;
		assert_int_equal(run_all(&m.t), UFM_ENOMEM);
	}
	alloc_set_hook(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_lru_and_belady_by_hand),
		cmocka_unit_test(a_slot_more_than_experts_changes_nothing),
		cmocka_unit_test(members_are_not_evicted_by_their_own_event),
		cmocka_unit_test(an_event_of_fewer_members_counts_fewer_uses),
		cmocka_unit_test(a_cache_for_each_layer_or_one_for_all),
		cmocka_unit_test(one_sequence_is_cut_into_runs),
		cmocka_unit_test(lanes_take_the_next_sequence),
		cmocka_unit_test(a_union_is_in_order_of_first_appearance),
		cmocka_unit_test(only_steps_asked_for_are_counted),
		cmocka_unit_test(cold_caches_forget_between_sequences),
		cmocka_unit_test(next_uses_are_the_next_events),
		cmocka_unit_test(a_shared_future_gives_the_same),
		cmocka_unit_test(no_policy_passes_its_bound),
		cmocka_unit_test(auto_divides_one_pool),
		cmocka_unit_test(auto_refuses_a_policy_that_cannot_be_divided),
		cmocka_unit_test(a_ring_never_passes_the_bound_without_one),
		cmocka_unit_test(guesses_follow_what_was_popular_or_came_along),
		cmocka_unit_test(wrong_guesses_are_refused),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(a_failed_allocation_is_an_error_and_no_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
