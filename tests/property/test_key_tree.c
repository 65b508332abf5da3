/* SPDX-License-Identifier: MIT */
/* The tournament of keys against a plain search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "policy/key_tree.h"

#define LAYERS 3
#define EXPERTS_MAX 70

static float plain_least(const float *values, const uint8_t *locked, uint32_t n, float below)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!locked[i] && values[i] < below)
			below = values[i];
	}
	return below;
}

/* Few different values, so that there are many equals. */
static float draw_value(rng *r)
{
	return rng_below(r, 4) ? (float)rng_below(r, 9) : KEY_TREE_ABSENT;
}

static void compare(const key_tree *t, const float *values, const uint8_t *locked, rng *r)
{
	for (uint32_t layer = 0; layer < t->layers; layer++) {
		uint32_t first = layer * t->experts;
		float limit = rng_below(r, 2) ? KEY_TREE_ABSENT : (float)rng_below(r, 10);
		float below = limit;
		float expected = plain_least(values + first, locked + first, t->experts, limit);
		uint32_t key = key_tree_least(t, layer, locked, &below);

		assert_true(below == expected);
		if (expected == limit) {
			assert_int_equal(key, UFM_KEY_NONE);
		} else {
			assert_in_range(key, first, first + t->experts - 1);
			assert_true(values[key] == expected && !locked[key]);
		}
	}
}

static void run(uint32_t experts, uint64_t seed)
{
	float values[LAYERS * EXPERTS_MAX];
	uint8_t locked[LAYERS * EXPERTS_MAX] = {0};
	uint32_t keys = LAYERS * experts;
	key_tree t;
	rng r;

	rng_seed(&r, seed);
	assert_int_equal(key_tree_init(&t, LAYERS, experts), UFM_OK);
	for (uint32_t key = 0; key < keys; key++)
		values[key] = KEY_TREE_ABSENT;
	for (int step = 0; step < 300; step++) {
		uint32_t key = rng_below(&r, keys), layer = rng_below(&r, LAYERS);

		key_tree_set(&t, key, values[key] = draw_value(&r));
		locked[rng_below(&r, keys)] ^= 1;
		if (step % 50 == 49) {
			for (uint32_t i = 0; i < experts; i++)
				key_tree_leaves(&t, layer)[i] = values[layer * experts + i] = draw_value(&r);
			key_tree_rebuild(&t, layer);
		}
		compare(&t, values, locked, &r);
	}
	key_tree_free(&t);
}

static void test_against_a_plain_search(void **state)
{
	const uint32_t experts[] = {1, 2, 3, 7, 8, 9, 32, 33, EXPERTS_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof experts / sizeof experts[0]; i++)
		run(experts[i], i + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_plain_search),
	};

	return cmocka_run_group_tests_name("key tree", tests, NULL, NULL);
}
