/* SPDX-License-Identifier: MIT */
/* Overlap, distances and LRU curves of traces: small ones by hand, the real cut against figures of another
 * implementation, random ones against caches that are simulated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "trace/statistics.h"

#define CUT "tests/data/traces/gpt-oss-20b-cut.npy"
#define NONE TRACE_NONE
#define SEED 3u

static uint64_t sum_of(const uint64_t *counts, uint32_t count)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < count; i++)
		total += counts[i];
	return total;
}

static void by_hand(void **state)
{
	(void)state;
	/* [5 tokens, 1 layer, 2 ranks]; two sequences, the second from token 3. */
	uint16_t ids[] = {0, 1, 1, 2, 0, NONE, 0, 2, NONE, NONE};
	uint64_t starts[] = {0, 3, 5};
	trace t = {.tokens = 5,
	           .layers = 1,
	           .ranks = 2,
	           .experts = 4,
	           .sequences = 2,
	           .ids = ids,
	           .starts = starts};
	trace_statistics s;
	assert_int_equal(trace_measure(&t, 0, 0, &s), UFM_OK);
	assert_int_equal(s.uses, 7);
	assert_int_equal(s.first, 3);
	assert_int_equal(s.follows, 3); /* 1, 2 and 0 of the first sequence */
	assert_int_equal(s.repeats, 1);
	/* 1 lies on top (depth 0); 0 under 2 and 1; 0 on top of 2, which lies under it: depth 1. */
	assert_int_equal(s.depths[0], 2);
	assert_int_equal(s.depths[1], 1);
	assert_int_equal(s.depths[2], 1);
	assert_int_equal(s.depths[3], 0);
	assert_int_equal(s.distances[0], 2);
	assert_int_equal(s.distances[1], 2);
	assert_int_equal(sum_of(s.distances, TRACE_DISTANCES + 1), 4);
	assert_true(trace_overlap(&s) == 1.0 / 3);
	assert_true(trace_lru_hit_rate(&s, 2) == 3.0 / 7);
	assert_true(trace_lru_hit_rate(&s, 99) == 4.0 / 7);
	assert_true(trace_distance_share(&s, 1) == 2.0 / 7);
	assert_true(trace_distance_share(&s, 0) == 0);
	trace_statistics_close(&s);
	assert_null(s.depths);
}

static void far_away_is_told_from_never(void **state)
{
	(void)state;
	enum { TOKENS = TRACE_DISTANCES + 3 };
	static uint16_t ids[TOKENS];
	uint64_t starts[] = {0, TOKENS};
	trace t = {.tokens = TOKENS,
	           .layers = 1,
	           .ranks = 1,
	           .experts = 3,
	           .sequences = 1,
	           .ids = ids,
	           .starts = starts};
	trace_statistics s;
	for (uint32_t i = 0; i < TOKENS; i++)
		ids[i] = 1;
	ids[0] = ids[TRACE_DISTANCES + 1] = 0; /* one too far */
	ids[1] = ids[TRACE_DISTANCES + 2] = 2; /* the same */
	assert_int_equal(trace_measure(&t, 0, 0, &s), UFM_OK);
	assert_int_equal(s.first, 3);
	assert_int_equal(s.distances[TRACE_DISTANCES], 2);
	assert_int_equal(s.distances[0], TOKENS - 5);
	trace_statistics_close(&s);
}

/* Counted by a NumPy program that shares nothing with this one. */
static void the_real_cut(void **state)
{
	(void)state;
	trace t;
	trace_statistics s;
	assert_int_equal(trace_read(&(trace_source){.path = CUT}, &t), UFM_OK);
	t.starts = realloc(t.starts, 3 * sizeof *t.starts);
	assert_non_null(t.starts);
	t.starts[1] = 511;
	t.starts[2] = 612;
	t.sequences = 2;
	assert_int_equal(trace_measure(&t, 0, 0, &s), UFM_OK);
	assert_int_equal(s.uses, 58752);
	assert_int_equal(s.follows, 58560);
	assert_int_equal(s.repeats, 26170);
	assert_int_equal(s.first, 693);
	assert_int_equal(sum_of(s.depths, 8), 36263);
	assert_int_equal(sum_of(s.depths, 16), 52501);
	assert_int_equal(sum_of(s.depths, 24), 57083);
	assert_int_equal(sum_of(s.distances, 2), 31629);
	assert_int_equal(sum_of(s.distances, 64), 57319);
	/* The layers add up. */
	uint64_t repeats = 0;
	for (uint32_t layer = 0; layer < t.layers; layer++) {
		trace_statistics one;
		assert_int_equal(trace_measure(&t, layer, 1, &one), UFM_OK);
		repeats += one.repeats;
		trace_statistics_close(&one);
	}
	assert_int_equal(repeats, s.repeats);
	trace_statistics_close(&s);
	trace_close(&t);
}

/* One cache of a layer, as a list of what it holds, latest first. */
typedef struct plain_cache {
	uint16_t held[64];
	uint32_t count;
} plain_cache;

static bool in_event(const uint16_t *ids, uint32_t ranks, uint16_t id)
{
	for (uint32_t i = 0; i < ranks; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static uint32_t place_in(const plain_cache *c, uint16_t id)
{
	uint32_t at = 0;
	while (at < c->count && c->held[at] != id)
		at++;
	return at;
}

static void remove_at(plain_cache *c, uint32_t at)
{
	memmove(c->held + at, c->held + at + 1, (c->count - at - 1) * sizeof *c->held);
	c->count--;
}

/* Members in their order; the oldest that is no member of the event leaves. */
static uint32_t play_event(plain_cache *c, const uint16_t *ids, uint32_t ranks, uint32_t slots)
{
	uint32_t hits = 0;
	for (uint32_t i = 0; i < ranks && ids[i] != NONE; i++) {
		uint32_t at = place_in(c, ids[i]);
		if (at < c->count) {
			hits++;
			remove_at(c, at);
		} else if (c->count == slots) {
			for (at = c->count - 1; in_event(ids, ranks, c->held[at]);)
				at--;
			remove_at(c, at);
		}
		memmove(c->held + 1, c->held, c->count * sizeof *c->held);
		c->held[0] = ids[i];
		c->count++;
	}
	return hits;
}

static uint64_t play(const trace *t, uint32_t layer, uint32_t slots)
{
	plain_cache c = {.count = 0};
	uint64_t hits = 0;
	for (uint64_t token = 0; token < t->tokens; token++)
		hits += play_event(&c, trace_event(t, token, layer), t->ranks, slots);
	return hits;
}

static void draw_event(rng *r, uint16_t *ids, uint32_t ranks, uint32_t experts)
{
	uint32_t count = rng_below(r, ranks + 1);
	for (uint32_t i = 0; i < ranks; i++) {
		ids[i] = NONE;
		while (i < count && ids[i] == NONE) {
			uint16_t id = (uint16_t)(rng_below(r, experts) * rng_below(r, experts) / experts);
			if (!in_event(ids, i, id))
				ids[i] = id;
		}
	}
}

static void lru_of_every_size(void **state)
{
	(void)state;
	enum { TOKENS = 200, LAYERS = 2, RANKS_MAX = 6 };
	static uint16_t ids[TOKENS * LAYERS * RANKS_MAX];
	rng r;
	rng_seed(&r, SEED);
	for (int round = 0; round < 20; round++) {
		uint32_t ranks = 1 + rng_below(&r, RANKS_MAX), experts = ranks + 1 + rng_below(&r, 50);
		uint64_t starts[] = {0, 77, TOKENS};
		trace t = {.tokens = TOKENS,
		           .layers = LAYERS,
		           .ranks = ranks,
		           .experts = experts,
		           .sequences = 2,
		           .ids = ids,
		           .starts = starts};
		for (uint32_t i = 0; i < TOKENS * LAYERS; i++)
			draw_event(&r, ids + (size_t)i * ranks, ranks, experts);
		for (uint32_t layer = 0; layer < LAYERS; layer++) {
			trace_statistics s;
			assert_int_equal(trace_measure(&t, layer, 1, &s), UFM_OK);
			assert_int_equal(sum_of(s.depths, experts) + s.first, s.uses);
			for (uint32_t slots = ranks; slots <= experts; slots++)
				assert_int_equal(sum_of(s.depths, slots), play(&t, layer, slots));
			trace_statistics_close(&s);
		}
	}
}

static bool refuse(void *ctx, size_t size_bytes)
{
	uint32_t *left = ctx;
	(void)size_bytes;
	return (*left)-- != 0;
}

static void each_allocation_fails(void **state)
{
	(void)state;
	uint16_t ids[] = {0, 1};
	uint64_t starts[] = {0, 1};
	trace t = {.tokens = 1,
	           .layers = 1,
	           .ranks = 2,
	           .experts = 2,
	           .sequences = 1,
	           .ids = ids,
	           .starts = starts};
	trace_statistics s;
	for (uint32_t at = 0; at < 4; at++) {
		uint32_t left = at;
		alloc_set_hook(refuse, &left);
		ufm_status status = trace_measure(&t, 0, 0, &s);
		alloc_set_hook(NULL, NULL);
		assert_int_equal(status, UFM_ENOMEM);
	}
	assert_int_equal(trace_measure(&t, 0, 0, &s), UFM_OK);
	trace_statistics_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand),
		cmocka_unit_test(far_away_is_told_from_never),
		cmocka_unit_test(the_real_cut),
		cmocka_unit_test(lru_of_every_size),
		cmocka_unit_test(each_allocation_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
