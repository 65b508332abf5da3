/* SPDX-License-Identifier: MIT */
/* Each policy's own order, and the registry. What holds for all is in tests/property. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "policy/registry.h"

#define LAYERS 3
#define EXPERTS 10
#define KEYS (LAYERS * EXPERTS)

typedef struct bench {
	const ufm_policy *policy;
	void *state;
	uint8_t locked[KEYS];
	uint64_t event;
} bench;

static void open_bench(bench *b, const ufm_policy *policy, uint32_t places)
{
	ufm_policy_config config;

	UFM_STRUCT_INIT(&config);
	config.layers = LAYERS;
	config.experts = EXPERTS;
	config.places = places;
	*b = (bench){.policy = policy};
	assert_int_equal(policy->create(&config, &b->state), UFM_OK);
}

static void close_bench(bench *b)
{
	b->policy->destroy(b->state);
}

/* An event of one member. */
static void use(bench *b, uint32_t key, uint64_t next_event)
{
	ufm_policy_use one = {.event = b->event++, .next_event = next_event, .tokens = 1};

	b->policy->event(b->state, key / EXPERTS);
	b->policy->use(b->state, key, &one);
}

static void use_and_insert(bench *b, uint32_t key, uint64_t next_event)
{
	use(b, key, next_event);
	b->policy->insert(b->state, key);
}

static uint32_t victim(bench *b, uint32_t newcomer, bool lingering)
{
	return b->policy->victim(b->state, newcomer, b->locked, lingering);
}

/* ------------------------------------------------------------------ registry */

static void test_registry(void **state)
{
	(void)state;
	assert_ptr_equal(policy_find(NULL), &policy_cycle);
	assert_ptr_equal(policy_find("default"), &policy_cycle);
	assert_ptr_equal(policy_find("layer-cycle"), &policy_cycle);
	assert_ptr_equal(policy_find("lru"), &policy_lru);
	assert_ptr_equal(policy_find("min-bypass"), &policy_min_bypass);
	assert_null(policy_find(""));
	assert_null(policy_find("LRU"));
	assert_null(policy_at(10));
	assert_null(policy_at(UINT32_MAX));
}

static void test_every_table_is_filled(void **state)
{
	char names[2][128] = {"", ""};

	(void)state;
	for (uint32_t i = 0; policy_at(i); i++) {
		const ufm_policy *p = policy_at(i);
		char *list = names[(p->flags & UFM_POLICY_OFFLINE) != 0];

		assert_int_equal(p->abi_version, UFM_POLICY_ABI);
		assert_int_equal(p->struct_size, sizeof *p);
		assert_ptr_equal(policy_find(p->name), p);
		assert_true(p->source && *p->source);
		assert_true(p->create && p->destroy && p->event && p->use && p->insert && p->remove &&
		            p->victim);
		snprintf(list + strlen(list), sizeof names[0] - strlen(list), "%s%s", *list ? ", " : "",
		         p->name);
	}
	assert_string_equal(POLICY_NAMES, names[0]);
	assert_string_equal(POLICY_BOUND_NAMES, names[1]);
}

static bool refuse_after(void *ctx, size_t size_bytes)
{
	int *left = ctx;

	(void)size_bytes;
	return (*left)-- > 0;
}

static void test_every_allocation_may_fail(void **state)
{
	ufm_policy_config config;
	float cost[KEYS];

	(void)state;
	UFM_STRUCT_INIT(&config);
	config.layers = LAYERS;
	config.experts = EXPERTS;
	config.places = 4;
	config.cost = cost;
	for (uint32_t key = 0; key < KEYS; key++)
		cost[key] = 1.0f;
	for (uint32_t i = 0; policy_at(i); i++) {
		ufm_status status = UFM_ENOMEM;
		int granted = 0;

		for (; status; granted++) {
			void *made = NULL;
			int left = granted;

			alloc_set_hook(refuse_after, &left);
			status = policy_at(i)->create(&config, &made);
			alloc_set_hook(NULL, NULL);
			assert_true(status == UFM_OK || (status == UFM_ENOMEM && !made));
			if (!status)
				policy_at(i)->destroy(made);
		}
		assert_true(granted > 2);
	}
}

static void test_destroy_takes_null(void **state)
{
	(void)state;
	for (uint32_t i = 0; policy_at(i); i++)
		policy_at(i)->destroy(NULL);
}

/* ------------------------------------------------------------------ all of them */

static void test_locked_keys_stay(void **state)
{
	(void)state;
	for (uint32_t i = 0; policy_at(i); i++) {
		bench b;

		open_bench(&b, policy_at(i), 3);
		for (uint32_t key = 0; key < 3; key++) {
			use_and_insert(&b, key, 100 - key);
			b.locked[key] = 1;
		}
		for (int n = 0; n < 4; n++)
			use(&b, 5, 8);
		assert_int_equal(victim(&b, 5, false), UFM_KEY_NONE);
		b.locked[1] = 0;
		assert_int_equal(victim(&b, 5, false), 1);
		close_bench(&b);
	}
}

/* ------------------------------------------------------------------ lru and fifo */

static void test_lru_order(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_lru, 3);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use_and_insert(&b, 3, 0);
	use(&b, 1, 0);
	assert_int_equal(victim(&b, 9, false), 2);
	assert_int_equal(victim(&b, 9, true), 2);
	b.policy->remove(b.state, 2);
	b.policy->insert(b.state, 9);
	assert_int_equal(victim(&b, 8, false), 3);
	close_bench(&b);
}

/* A miss that is inserted after a hit of a later rank is still the older of the two. */
static void test_lru_goes_by_use_not_by_insertion(void **state)
{
	ufm_policy_use one = {.tokens = 1};
	bench b;

	(void)state;
	open_bench(&b, &policy_lru, 2);
	use_and_insert(&b, 1, 0);
	b.policy->event(b.state, 0);
	b.policy->use(b.state, 2, &one);
	b.policy->use(b.state, 1, &one);
	b.policy->insert(b.state, 2);
	use(&b, 3, 0);
	assert_int_equal(victim(&b, 3, false), 2);
	close_bench(&b);
}

static void test_fifo_order(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_fifo, 3);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use_and_insert(&b, 3, 0);
	use(&b, 1, 0);
	assert_int_equal(victim(&b, 9, false), 1);
	assert_int_equal(victim(&b, 9, true), UFM_KEY_NONE);
	close_bench(&b);
}

/* ------------------------------------------------------------------ sieve */

static void replace(bench *b, uint32_t victim, uint32_t newcomer)
{
	b->policy->remove(b->state, victim);
	use_and_insert(b, newcomer, 0);
}

/* Who was used stays where it is and is passed once; then the hand goes on, not back to the oldest. */
static void test_sieve_hand(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_sieve, 3);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use_and_insert(&b, 3, 0);
	use(&b, 2, 0);
	assert_int_equal(victim(&b, 4, false), 1);
	replace(&b, 1, 4);
	assert_int_equal(victim(&b, 5, false), 3);
	replace(&b, 3, 5);
	/* 2 is the oldest and has lost its mark, but 4 is next */
	assert_int_equal(victim(&b, 6, true), 4);
	replace(&b, 4, 6);
	use(&b, 5, 0);
	use(&b, 6, 0);
	assert_int_equal(victim(&b, 7, false), 2);
	close_bench(&b);
}

/* A lock is no use: who is locked is passed with its mark as it is. */
static void test_sieve_passes_the_locked(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_sieve, 3);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use_and_insert(&b, 3, 0);
	use(&b, 1, 0);
	b.locked[1] = b.locked[2] = 1;
	assert_int_equal(victim(&b, 4, false), 3);
	replace(&b, 3, 4);
	b.locked[4] = 1;
	assert_int_equal(victim(&b, 5, false), UFM_KEY_NONE);
	memset(b.locked, 0, sizeof b.locked);
	/* 3 was the youngest, so the hand begins again: 1 is still marked, 2 never was */
	assert_int_equal(victim(&b, 5, false), 2);
	replace(&b, 2, 5);
	use(&b, 4, 0);
	use(&b, 5, 0);
	assert_int_equal(victim(&b, 6, false), 1);
	close_bench(&b);
}

/* ------------------------------------------------------------------ s3fifo */

static void test_s3fifo_queues(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_s3fifo, 3);
	for (uint32_t key = 1; key <= 3; key++)
		use_and_insert(&b, key, 0);
	use(&b, 1, 0); /* one use proves nothing */
	assert_int_equal(victim(&b, 4, false), 1);
	replace(&b, 1, 4);
	assert_int_equal(victim(&b, 1, false), 2);
	replace(&b, 2, 1); /* remembered: into the main queue */
	for (int i = 0; i < 2; i++) {
		use(&b, 3, 0);
		use(&b, 4, 0);
	}
	/* 3 and 4 prove themselves and follow 1 into the main queue */
	assert_int_equal(victim(&b, 5, false), 1);
	replace(&b, 1, 5);
	/* who left the main queue is not remembered: 5 goes before 1 would, both from the small one */
	assert_int_equal(victim(&b, 1, false), 5);
	replace(&b, 5, 1);
	assert_int_equal(victim(&b, 6, false), 1);
	close_bench(&b);
}

/* The oldest of the main queue comes round once for each of its uses. */
static void test_s3fifo_main_queue_comes_round(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_s3fifo, 3);
	for (uint32_t key = 1; key <= 3; key++) {
		use_and_insert(&b, key, 0);
		use(&b, key, 0);
		use(&b, key, 0);
	}
	assert_int_equal(victim(&b, 4, false), 1); /* all are in the main queue, with no uses */
	use(&b, 1, 0);
	use(&b, 2, 0);
	use(&b, 2, 0);
	use(&b, 3, 0);
	assert_int_equal(victim(&b, 4, false), 1); /* 1 and 3 lost one, 2 has one left */
	b.locked[1] = b.locked[3] = 1;
	assert_int_equal(victim(&b, 4, false), 2);
	close_bench(&b);
}

/* Where all of a queue are locked the other is asked, whatever its share. */
static void test_s3fifo_asks_the_other_queue(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_s3fifo, 3);
	for (uint32_t key = 1; key <= 2; key++) {
		use_and_insert(&b, key, 0);
		use(&b, key, 0);
		use(&b, key, 0);
	}
	use_and_insert(&b, 3, 0);
	assert_int_equal(victim(&b, 4, false), 3);
	b.locked[3] = 1;
	assert_int_equal(victim(&b, 4, false), 1);
	b.locked[1] = b.locked[2] = 1;
	assert_int_equal(victim(&b, 4, false), UFM_KEY_NONE);
	b.locked[3] = 0;
	use(&b, 3, 0);
	use(&b, 3, 0);
	/* it proves itself, and must go all the same */
	assert_int_equal(victim(&b, 4, false), 3);
	close_bench(&b);
}

/* ------------------------------------------------------------------ lfu and cost */

/* What was used four times outlives what comes once, until four others have left. */
static void test_lfu_ages(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_lfu, 2);
	use_and_insert(&b, 1, 0);
	for (int i = 0; i < 3; i++)
		use(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	for (uint32_t key = 2; key <= 4; key++) {
		assert_int_equal(victim(&b, key + 1, false), key);
		replace(&b, key, key + 1);
	}
	/* 5 is worth as much by now, and was used later */
	assert_int_equal(victim(&b, 6, false), 1);
	close_bench(&b);
}

/* The count goes with the place. */
static void test_lfu_forgets(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_lfu, 2);
	use_and_insert(&b, 1, 0);
	for (int i = 0; i < 5; i++)
		use(&b, 1, 0);
	b.policy->remove(b.state, 1);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use(&b, 2, 0);
	assert_int_equal(victim(&b, 3, false), 1);
	close_bench(&b);
}

static ufm_status open_costly(bench *b, const float *cost, size_t struct_size)
{
	ufm_policy_config config;

	UFM_STRUCT_INIT(&config);
	config.struct_size = struct_size;
	config.layers = LAYERS;
	config.experts = EXPERTS;
	config.places = 2;
	config.cost = cost;
	*b = (bench){.policy = &policy_cost};
	return b->policy->create(&config, &b->state);
}

static void test_cost_goes_by_frequency_and_cost(void **state)
{
	float cost[KEYS];
	bench b;

	(void)state;
	for (uint32_t key = 0; key < KEYS; key++)
		cost[key] = key == 1 ? 2.5f : 1.0f;
	assert_int_equal(open_costly(&b, cost, sizeof(ufm_policy_config)), UFM_OK);
	cost[1] = 0.0f; /* it was copied */
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use(&b, 2, 0);
	assert_int_equal(victim(&b, 3, false), 2);
	use(&b, 2, 0);
	use(&b, 2, 0);
	assert_int_equal(victim(&b, 3, false), 1);
	close_bench(&b);
}

/* A caller of an older header has no costs: all are alike, whatever lies behind its config. */
static void test_cost_looks_at_the_size_of_its_config(void **state)
{
	float cost[KEYS] = {0};
	bench b;

	(void)state;
	assert_int_equal(open_costly(&b, cost, offsetof(ufm_policy_config, cost)), UFM_OK);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	use(&b, 1, 0);
	assert_int_equal(victim(&b, 3, false), 2);
	close_bench(&b);
}

static void test_cost_refuses_what_is_no_cost(void **state)
{
	const float bad[] = {0.0f, -1.0f, INFINITY, NAN};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		float cost[KEYS];
		bench b;

		for (uint32_t key = 0; key < KEYS; key++)
			cost[key] = key == KEYS - 1 ? bad[i] : 1.0f;
		assert_int_equal(open_costly(&b, cost, sizeof(ufm_policy_config)), UFM_EINVAL);
		assert_non_null(strstr(ufm_last_error(), "cost[29]"));
		assert_null(b.state);
	}
}

/* ------------------------------------------------------------------ freq */

static void test_freq_keeps_the_frequent(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_freq, 2);
	use_and_insert(&b, 1, 0);
	use_and_insert(&b, 2, 0);
	for (int i = 0; i < 5; i++)
		use(&b, 1, 0);
	use(&b, 3, 0);
	/* 2 was used once and longer ago than 3; 1 is worth more than both */
	assert_int_equal(victim(&b, 3, false), 2);
	b.policy->remove(b.state, 2);
	b.policy->insert(b.state, 3);
	use(&b, 3, 0);
	use(&b, 4, 0);
	assert_int_equal(victim(&b, 4, false), UFM_KEY_NONE);
	close_bench(&b);
}

/* The count of a key is kept while it is away. */
static void test_freq_remembers(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_freq, 1);
	for (int i = 0; i < 5; i++)
		use(&b, 7, 0);
	for (int i = 0; i < 3; i++)
		use(&b, 2, 0);
	b.policy->insert(b.state, 2);
	use(&b, 7, 0);
	assert_int_equal(victim(&b, 7, false), 2);
	close_bench(&b);
}

/* A long scan of experts that are used once each displaces nothing that is used now and then. */
static void test_freq_withstands_a_scan(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_freq, 2);
	for (int round = 0; round < 20; round++) {
		use(&b, 0, 0);
		use(&b, 1, 0);
		if (round == 3) {
			b.policy->insert(b.state, 0);
			b.policy->insert(b.state, 1);
		}
	}
	for (uint32_t key = 2; key < EXPERTS; key++) {
		use(&b, key, 0);
		assert_int_equal(victim(&b, key, false), UFM_KEY_NONE);
	}
	close_bench(&b);
}

/* Equal experts never displace each other, and another layer's events age nobody. */
static void test_freq_compares_layers_fairly(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_freq, 1);
	use_and_insert(&b, 0, 0);
	for (int i = 0; i < 50; i++) {
		use(&b, EXPERTS, 0);
		assert_int_equal(victim(&b, EXPERTS, false), UFM_KEY_NONE);
	}
	/* its own layer's events do */
	use(&b, 1, 0);
	assert_int_equal(victim(&b, EXPERTS, false), 0);
	close_bench(&b);
}

/* A hint's expert, never used, is worth nothing, even where its layer had no event. */
static void test_freq_gives_up_the_unused_first(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_freq, 2);
	use_and_insert(&b, 0, 0);
	b.policy->insert(b.state, 2 * EXPERTS);
	use(&b, 1, 0);
	assert_int_equal(victim(&b, 1, false), 2 * EXPERTS);
	/* nor is an unused newcomer worth a place */
	assert_int_equal(victim(&b, 2 * EXPERTS + 1, false), UFM_KEY_NONE);
	close_bench(&b);
}

/* ------------------------------------------------------------------ cycle */

static void use_layers(bench *b, uint32_t expert, int rounds)
{
	for (int round = 0; round < rounds; round++) {
		for (uint32_t layer = 0; layer < LAYERS; layer++)
			use(b, layer * EXPERTS + expert, 0);
	}
}

/* Of equals the one whose layer comes last leaves: not the newcomer's own when it is worth more. */
static void test_cycle_gives_up_the_farthest(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_cycle, 3);
	use_layers(&b, 4, 20);
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		use(&b, layer * EXPERTS + 1, 0);
		b.policy->insert(b.state, layer * EXPERTS + 1);
	}
	use(&b, 4, 0);
	/* layer 0 has just been computed, layer 1 comes next */
	assert_int_equal(victim(&b, 4, false), 1);
	b.locked[1] = 1;
	assert_int_equal(victim(&b, 4, false), 2 * EXPERTS + 1);
	b.locked[2 * EXPERTS + 1] = 1;
	assert_int_equal(victim(&b, 4, false), EXPERTS + 1);
	close_bench(&b);
}

/* All layers demand all they have: whoever comes, from whichever layer, displaces nobody. */
static void test_cycle_withstands_a_sweep(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_cycle, LAYERS);
	use_layers(&b, 0, 1);
	for (uint32_t layer = 0; layer < LAYERS; layer++)
		b.policy->insert(b.state, layer * EXPERTS);
	for (int round = 0; round < 3000; round++) {
		for (uint32_t layer = 0; layer < LAYERS; layer++) {
			ufm_policy_use one = {.tokens = 1};

			b.policy->event(b.state, layer);
			for (uint32_t expert = 0; expert < 5; expert++)
				b.policy->use(b.state, layer * EXPERTS + expert, &one);
			if (round)
				assert_int_equal(victim(&b, layer * EXPERTS + 3, false), UFM_KEY_NONE);
		}
	}
	close_bench(&b);
}

/* What comes in runs is worth more just after a use than its share says; learnt, not assumed. */
static void test_cycle_learns_that_experts_come_in_runs(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_cycle, 1);
	/* expert 0 every other event; 1 … 9 each three times in a row, then long not */
	for (uint32_t round = 0; round < 40; round++) {
		for (uint32_t i = 0; i < 3; i++) {
			use(&b, 0, 0);
			use(&b, 1 + round % 9, 0);
		}
	}
	use(&b, 8, 0);
	b.policy->insert(b.state, 0);
	assert_int_equal(victim(&b, 8, false), UFM_KEY_NONE); /* and 0 is worth more still */
	b.policy->remove(b.state, 0);
	b.policy->insert(b.state, 2); /* used about as often as 8, but not lately */
	assert_int_equal(victim(&b, 8, false), 2);
	close_bench(&b);
}

/* Expert 1 always follows 0, all others come at random: after 0 it is worth more than one that is used as
 * often, and was more lately. */
static void test_cycle_learns_who_keeps_company(void **state)
{
	bench b;
	rng r;

	(void)state;
	rng_seed(&r, 1);
	open_bench(&b, &policy_cycle, 1);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t expert = rng_below(&r, EXPERTS - 1);

		use(&b, expert ? expert + 1 : 0, 0);
		if (!expert)
			use(&b, 1, 0);
	}
	use(&b, 2, 0);
	use(&b, 0, 0);
	b.policy->insert(b.state, 2);
	assert_int_equal(victim(&b, 1, false), 2);
	b.policy->remove(b.state, 2);
	b.policy->insert(b.state, 1);
	assert_int_equal(victim(&b, 2, false), UFM_KEY_NONE);
	close_bench(&b);
}

/* A layer that is not visited any more gives up its places, however often it was. */
static void test_cycle_forgets_a_layer_that_stays_away(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_cycle, 1);
	use_layers(&b, 0, 30);
	b.policy->insert(b.state, 2 * EXPERTS);
	for (uint32_t i = 0; i < 40; i++) {
		use(&b, 0, 0);
		use(&b, EXPERTS + i % 2, 0);
	}
	assert_int_equal(victim(&b, EXPERTS, false), 2 * EXPERTS);
	close_bench(&b);
}

/* ------------------------------------------------------------------ min */

static void test_min(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_min, 2);
	use_and_insert(&b, 1, 10);
	use_and_insert(&b, 2, 20);
	use(&b, 3, 30);
	assert_int_equal(victim(&b, 3, false), 2);
	/* it need not take back what is farther away than all that it has */
	assert_int_equal(victim(&b, 3, true), UFM_KEY_NONE);
	use(&b, 4, UFM_NEVER);
	assert_int_equal(victim(&b, 4, false), 2);
	use(&b, 5, 15);
	assert_int_equal(victim(&b, 5, true), 2);
	close_bench(&b);
}

static void test_min_bypass(void **state)
{
	bench b;

	(void)state;
	open_bench(&b, &policy_min_bypass, 2);
	use_and_insert(&b, 1, 10);
	use_and_insert(&b, 2, 20);
	use(&b, 3, 30);
	assert_int_equal(victim(&b, 3, false), UFM_KEY_NONE);
	use(&b, 4, 20);
	assert_int_equal(victim(&b, 4, false), UFM_KEY_NONE);
	use(&b, 5, 19);
	assert_int_equal(victim(&b, 5, false), 2);
	use(&b, 2, UFM_NEVER);
	use(&b, 6, UFM_NEVER);
	assert_int_equal(victim(&b, 6, false), UFM_KEY_NONE);
	close_bench(&b);
}

/* min spares the members of the event while anybody else can go, then keeps the nearest of them. */
static void test_min_and_its_own_event(void **state)
{
	const ufm_policy_use uses[] = {{.event = 5, .next_event = 50, .tokens = 1},
	                               {.event = 5, .next_event = 40, .rank = 1, .tokens = 1},
	                               {.event = 5, .next_event = 60, .rank = 2, .tokens = 1}};
	bench b;

	(void)state;
	open_bench(&b, &policy_min, 2);
	use_and_insert(&b, 0, 7);
	use_and_insert(&b, 1, 5);
	b.policy->event(b.state, 0);
	for (uint32_t i = 0; i < 3; i++)
		b.policy->use(b.state, 1 + i, &uses[i]);
	assert_int_equal(victim(&b, 2, false), 0);
	b.policy->remove(b.state, 0);
	b.policy->insert(b.state, 2);
	assert_int_equal(victim(&b, 3, false), UFM_KEY_NONE);
	close_bench(&b);
}

/* ------------------------------------------------------------------ shrinking */

/* When a place goes away no policy declines: the least worth goes, unless it is locked. */
static void test_a_place_that_goes_away(void **state)
{
	(void)state;
	for (uint32_t i = 0; policy_at(i); i++) {
		bench b;
		uint32_t gone[3];

		open_bench(&b, policy_at(i), 4);
		assert_int_equal(victim(&b, UFM_KEY_NONE, false), UFM_KEY_NONE);
		/* key 1 is the first in, the least recently and the least often used, and needed last */
		use_and_insert(&b, 1, 90);
		for (uint32_t key = 2; key <= 3; key++) {
			use_and_insert(&b, key, 80 - key);
			use(&b, key, 80 - key);
			use(&b, key, 80 - key);
		}
		for (uint32_t n = 0; n < 3; n++) {
			gone[n] = victim(&b, UFM_KEY_NONE, false);
			assert_true(gone[n] >= 1 && gone[n] <= 3);
			b.locked[gone[n]] = 1;
		}
		assert_int_equal(gone[0], 1);
		assert_int_equal(victim(&b, UFM_KEY_NONE, false), UFM_KEY_NONE);
		b.locked[2] = 0;
		assert_int_equal(victim(&b, UFM_KEY_NONE, false), 2);
		close_bench(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_every_table_is_filled),
		cmocka_unit_test(test_every_allocation_may_fail),
		cmocka_unit_test(test_a_place_that_goes_away),
		cmocka_unit_test(test_destroy_takes_null),
		cmocka_unit_test(test_locked_keys_stay),
		cmocka_unit_test(test_cycle_gives_up_the_farthest),
		cmocka_unit_test(test_cycle_withstands_a_sweep),
		cmocka_unit_test(test_cycle_learns_that_experts_come_in_runs),
		cmocka_unit_test(test_cycle_learns_who_keeps_company),
		cmocka_unit_test(test_cycle_forgets_a_layer_that_stays_away),
		cmocka_unit_test(test_lru_order),
		cmocka_unit_test(test_lru_goes_by_use_not_by_insertion),
		cmocka_unit_test(test_fifo_order),
		cmocka_unit_test(test_freq_keeps_the_frequent),
		cmocka_unit_test(test_freq_remembers),
		cmocka_unit_test(test_freq_withstands_a_scan),
		cmocka_unit_test(test_freq_compares_layers_fairly),
		cmocka_unit_test(test_freq_gives_up_the_unused_first),
		cmocka_unit_test(test_sieve_hand),
		cmocka_unit_test(test_sieve_passes_the_locked),
		cmocka_unit_test(test_s3fifo_queues),
		cmocka_unit_test(test_s3fifo_main_queue_comes_round),
		cmocka_unit_test(test_s3fifo_asks_the_other_queue),
		cmocka_unit_test(test_lfu_ages),
		cmocka_unit_test(test_lfu_forgets),
		cmocka_unit_test(test_cost_goes_by_frequency_and_cost),
		cmocka_unit_test(test_cost_looks_at_the_size_of_its_config),
		cmocka_unit_test(test_cost_refuses_what_is_no_cost),
		cmocka_unit_test(test_min),
		cmocka_unit_test(test_min_bypass),
		cmocka_unit_test(test_min_and_its_own_event),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
