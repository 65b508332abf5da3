/* SPDX-License-Identifier: MIT */
/* Recorded routing: what its rings keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/routings.h"

/* Row `row` of the table is token `number`. */
static void check_row(const routing_table *t, uint64_t row, uint64_t number)
{
	for (uint32_t layer = 0; layer < t->layers; layer++)
		for (uint32_t j = 0; j < t->ranks; j++)
			assert_int_equal(t->ids[(row * t->layers + layer) * t->ranks + j],
			                 id_of(layer, number, j, t->experts));
}

/* Calls of every size, also larger than the ring, however they fall across its end. */
static void rings_keep_the_latest(void **state)
{
	(void)state;
	enum { LAYERS = 3, EXPERTS = 11, RANKS = 4, TOKENS = 40 };
	for (uint32_t room = 1; room <= 9; room += 4)
		for (uint32_t size = 1; size <= 13; size += 3) {
			routing *r = open_rings(LAYERS, EXPERTS, RANKS, room);
			for (uint64_t n = 0; n < TOKENS; n += size) {
				for (uint32_t layer = 0; layer < LAYERS; layer++)
					add(r, layer, n, size, RANKS, EXPERTS);
				uint64_t routed = n + size, gone = routed > room ? routed - room : 0;
				routing_table t = copy(r, 1);
				check_info(&t.info, gone, routed - gone, 0);
				for (uint64_t i = 0; i < t.info.tokens; i++)
					check_row(&t, i, gone + i);
				routing_table_close(&t);
			}
			routing_close(r);
		}
}

static void only_tokens_that_all_layers_know(void **state)
{
	(void)state;
	routing *r = open_rings(2, 16, 2, 4);
	routing_table t = copy(r, 1);
	check_info(&t.info, 0, 0, 0); /* nothing yet */
	routing_table_close(&t);
	add(r, 0, 0, 3, 2, 16);
	add(r, 1, 0, 1, 2, 16);
	t = copy(r, 1);
	check_info(&t.info, 0, 1, 2); /* layer 1 is behind */
	check_row(&t, 0, 0);
	routing_table_close(&t);
	add(r, 1, 1, 3, 2, 16);
	add(r, 0, 3, 4, 2, 16);
	t = copy(r, 1);
	check_info(&t.info, 3, 1, 3); /* 0 has 3 … 6, 1 has 0 … 3 */
	check_row(&t, 0, 3);
	routing_table_close(&t);
	add(r, 0, 7, 9, 2, 16);
	t = copy(r, 1);
	check_info(&t.info, 12, 0, 4); /* nothing in common */
	routing_table_close(&t);
	routing_close(r);
}

static void a_layer_that_was_never_called_has_no_experts(void **state)
{
	(void)state;
	routing *r = open_rings(3, 16, 2, 4);
	add(r, 1, 0, 2, 2, 16);
	routing_table t = copy(r, 1);
	check_info(&t.info, 0, 2, 0);
	for (uint32_t i = 0; i < 2 * 3 * 2; i++) {
		uint32_t layer = i / 2 % 3;
		assert_int_equal(t.ids[i], layer == 1 ? id_of(1, i / 6, i % 2, 16) : ROUTING_NONE);
	}
	routing_table_close(&t);
	routing_close(r);
}

/* Token n of B sequences is token n / B of sequence n % B; only whole rounds are kept. */
static void sequences_are_told_apart(void **state)
{
	(void)state;
	enum { B = 3, ROOM = 10, ROUTED = 14 };
	routing *r = open_rings(2, 32, 3, ROOM);
	for (uint32_t layer = 0; layer < 2; layer++)
		add(r, layer, 0, ROUTED, 3, 32);
	routing_table t = copy(r, B);
	check_info(&t.info, 6, 6, 2); /* 4 … 13 are kept; rounds begin at 6 and 9 */
	assert_int_equal(t.sequence_tokens, 2);
	for (uint64_t row = 0; row < 6; row++)
		check_row(&t, row, 6 + row % 2 * B + row / 2);
	routing_table_close(&t);
	t = copy(r, 100);
	check_info(&t.info, 14, 0, 0); /* no whole round */
	routing_table_close(&t);
	routing_close(r);
}

static void what_is_no_expert_is_left_out(void **state)
{
	(void)state;
	routing *r = open_rings(1, 8, 5, 4);
	const int32_t ids[] = {-1, 3, 8, 3, 0, INT32_MIN, INT32_MAX, 7, 7, 7, 1, 2, 3, 4, 5};
	const uint16_t want[][5] = {{3, 0, ROUTING_NONE, ROUTING_NONE, ROUTING_NONE},
	                            {7, ROUTING_NONE, ROUTING_NONE, ROUTING_NONE, ROUTING_NONE},
	                            {1, 2, 3, 4, 5},
	                            {6, 5, ROUTING_NONE, ROUTING_NONE, ROUTING_NONE}};
	routing_add(r, 0, ids, 3, 5);
	routing_add(r, 0, (const int32_t[]){6, 5}, 1, 2); /* a smaller top-k */
	routing_table t = copy(r, 1);
	check_info(&t.info, 0, 4, 0);
	assert_memory_equal(t.ids, want, sizeof want);
	routing_table_close(&t);
	routing_close(r);
}

static void no_recording_is_allowed(void **state)
{
	(void)state;
	routing_table t = {0};
	routing_add(NULL, 0, NULL, 0, 0);
	routing_close(NULL);
	routing_table_close(&t);
}

static void rings_that_cannot_be(void **state)
{
	(void)state;
	routing *r = NULL;
	routing_config c = {.layers = 3, .experts = 65535, .ranks = 4, .ring_bytes = 23};
	assert_int_equal(routing_open(&c, &r), UFM_EINVAL);
	assert_says("routing_bytes: 23, expected 0 or at least 24");
	c.ring_bytes = 24;
	c.experts = 65536;
	assert_int_equal(routing_open(&c, &r), UFM_EINVAL);
	assert_says("65536 experts");
	assert_null(r);
	c.experts = 65535; /* the largest id is no mark of absence */
	assert_int_equal(routing_open(&c, &r), UFM_OK);
	for (uint32_t i = 0; i < 3; i++)
		routing_add(r, i, (const int32_t[]){65534, 65535, 0, 1}, 1, 4);
	routing_table t = copy(r, 1);
	const uint16_t want[] = {65534, 0, 1, ROUTING_NONE};
	assert_memory_equal(t.ids, want, sizeof want);
	routing_table_close(&t);
	routing_close(r);
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)size_bytes;
	return (*(uint32_t *)ctx)--;
}

static void rings_that_find_no_memory(void **state)
{
	(void)state;
	routing *r = NULL;
	routing_config c = {.layers = 3, .experts = 9, .ranks = 4, .ring_bytes = 1000};
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t allowed = i;
		alloc_set_hook(refuse, &allowed);
		ufm_status status = routing_open(&c, &r);
		alloc_set_hook(NULL, NULL);
		assert_int_equal(status, UFM_ENOMEM);
	}
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rings_keep_the_latest),
		cmocka_unit_test(only_tokens_that_all_layers_know),
		cmocka_unit_test(a_layer_that_was_never_called_has_no_experts),
		cmocka_unit_test(sequences_are_told_apart),
		cmocka_unit_test(what_is_no_expert_is_left_out),
		cmocka_unit_test(no_recording_is_allowed),
		cmocka_unit_test(rings_that_cannot_be),
		cmocka_unit_test(rings_that_find_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
