/* SPDX-License-Identifier: MIT */
/* The heap of keys against a plain search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "policy/key_heap.h"

#define KEYS_MAX 70

typedef struct plain {
	uint32_t keys;
	bool member[KEYS_MAX];
	key_rank by[KEYS_MAX];
	uint8_t locked[KEYS_MAX];
	uint64_t stamps[KEYS_MAX];
} plain;

static bool less(key_rank a, key_rank b)
{
	return a.rank < b.rank || (a.rank == b.rank && a.tie < b.tie);
}

static uint32_t plain_least(const plain *p, uint64_t spared)
{
	uint32_t least = UFM_KEY_NONE;

	for (uint32_t key = 0; key < p->keys; key++) {
		if (!p->member[key] || p->locked[key] || (spared && p->stamps[key] == spared))
			continue;
		if (least == UFM_KEY_NONE || less(p->by[key], p->by[least]))
			least = key;
	}
	return least;
}

/* Few different ranks, so that ties decide; ties differ, so that the answer is one. Ranks beyond 2^53
 * and their neighbours differ too. */
static key_rank draw_rank(rng *r, uint32_t step)
{
	return (key_rank){.rank = UINT64_MAX - rng_below(r, 5), .tie = step};
}

static void change(key_heap *h, plain *p, rng *r, uint32_t step)
{
	uint32_t key = rng_below(r, p->keys);

	if (!p->member[key] && h->count < h->capacity) {
		p->by[key] = draw_rank(r, step);
		p->member[key] = true;
		key_heap_add(h, key, p->by[key]);
	} else if (p->member[key] && rng_below(r, 3) == 0) {
		p->member[key] = false;
		key_heap_drop(h, key);
	} else if (p->member[key]) {
		p->by[key] = draw_rank(r, step);
		key_heap_set(h, key, p->by[key]);
	}
	p->locked[rng_below(r, p->keys)] ^= 1;
	p->stamps[rng_below(r, p->keys)] = rng_below(r, 3);
}

static void compare(const key_heap *h, const plain *p)
{
	uint32_t members = 0;

	for (uint32_t key = 0; key < p->keys; key++) {
		members += p->member[key];
		assert_int_equal(key_heap_has(h, key), p->member[key]);
		if (p->member[key])
			assert_true(key_heap_rank(h, key).rank == p->by[key].rank &&
			            key_heap_rank(h, key).tie == p->by[key].tie);
	}
	assert_int_equal(h->count, members);
	for (uint64_t spared = 0; spared < 3; spared++)
		assert_int_equal(key_heap_least(h, p->locked, p->stamps, spared), plain_least(p, spared));
}

static void run(uint32_t capacity, uint32_t keys, uint64_t seed)
{
	plain p = {.keys = keys};
	key_heap h;
	rng r;

	rng_seed(&r, seed);
	assert_int_equal(key_heap_init(&h, capacity, keys), UFM_OK);
	assert_int_equal(key_heap_least(&h, p.locked, NULL, 0), UFM_KEY_NONE);
	for (uint32_t step = 0; step < 600; step++) {
		change(&h, &p, &r, step);
		compare(&h, &p);
	}
	key_heap_free(&h);
}

static void test_against_a_plain_search(void **state)
{
	const uint32_t capacities[] = {1, 2, 3, 7, 8, 33, KEYS_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
		run(capacities[i], KEYS_MAX, i + 1);
		run(capacities[i], capacities[i], i + 100);
	}
}

static void test_a_zeroed_heap_can_be_freed(void **state)
{
	key_heap h = {0};

	(void)state;
	key_heap_free(&h);
	assert_null(h.nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_plain_search),
		cmocka_unit_test(test_a_zeroed_heap_can_be_freed),
	};

	return cmocka_run_group_tests_name("key heap", tests, NULL, NULL);
}
