/* SPDX-License-Identifier: MIT */
/* sieve, s3fifo, lfu and cost against their definitions, written down with arrays and searches: one
 * cache without a ring, events of one member. lru and fifo are in test_cache_reference.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policy/registry.h"
#include "support/replay.h"

#define KEYS 24
#define EVENTS 600

/* ------------------------------------------------------------------ an array as a queue */

typedef struct item {
	uint32_t key, uses;
	double value;
	uint64_t touched;
} item;

/* The oldest first. */
typedef struct queue {
	uint32_t n;
	item items[2 * KEYS];
} queue;

static item *queue_find(queue *q, uint32_t key)
{
	for (uint32_t i = 0; i < q->n; i++) {
		if (q->items[i].key == key)
			return &q->items[i];
	}
	return NULL;
}

static void queue_push(queue *q, item it)
{
	q->items[q->n++] = it;
}

static item queue_take(queue *q, uint32_t at)
{
	item it = q->items[at];

	memmove(&q->items[at], &q->items[at + 1], (--q->n - at) * sizeof it);
	return it;
}

/* ------------------------------------------------------------------ the definitions */

typedef struct plain {
	uint32_t slots;
	const float *weight; /* cost */
	queue queue;         /* sieve, lfu, cost; s3fifo: the small one */
	queue main, ghost;   /* s3fifo */
	uint32_t hand;       /* sieve: index into the queue */
	double age;          /* lfu, cost */
	uint64_t now;
} plain;

typedef bool plain_use(plain *p, uint32_t key);

static bool plain_sieve(plain *p, uint32_t key)
{
	item *found = queue_find(&p->queue, key);

	if (found) {
		found->uses = 1;
		return true;
	}
	if (p->queue.n == p->slots) {
		p->hand %= p->slots;
		while (p->queue.items[p->hand].uses) {
			p->queue.items[p->hand].uses = 0;
			p->hand = (p->hand + 1) % p->slots;
		}
		queue_take(&p->queue, p->hand);
		/* Behind the youngest the hand begins again with the oldest. */
		if (p->hand == p->queue.n)
			p->hand = 0;
	}
	queue_push(&p->queue, (item){.key = key});
	return false;
}

static void s3fifo_evict(plain *p)
{
	uint32_t share = p->slots >= 10 ? p->slots / 10 : 1;

	for (;;) {
		if (p->queue.n >= share) {
			item oldest = queue_take(&p->queue, 0);

			if (oldest.uses < 2) {
				queue_push(&p->ghost, oldest);
				if (p->ghost.n > p->slots - share)
					queue_take(&p->ghost, 0);
				return;
			}
			oldest.uses = 0;
			queue_push(&p->main, oldest);
		} else {
			item oldest = queue_take(&p->main, 0);

			if (oldest.uses == 0)
				return;
			oldest.uses--;
			queue_push(&p->main, oldest);
		}
	}
}

static bool plain_s3fifo(plain *p, uint32_t key)
{
	item *found = queue_find(&p->queue, key);
	item *ghost;

	if (!found)
		found = queue_find(&p->main, key);
	if (found) {
		found->uses += found->uses < 3;
		return true;
	}
	if (p->queue.n + p->main.n == p->slots)
		s3fifo_evict(p);
	ghost = queue_find(&p->ghost, key);
	if (ghost)
		queue_take(&p->ghost, (uint32_t)(ghost - p->ghost.items));
	queue_push(ghost ? &p->main : &p->queue, (item){.key = key});
	return false;
}

static bool plain_aged(plain *p, uint32_t key)
{
	item *found = queue_find(&p->queue, key);
	bool hit = found != NULL;

	if (!hit) {
		uint32_t least = 0;

		for (uint32_t i = 1; i < p->queue.n; i++) {
			const item *a = &p->queue.items[i], *b = &p->queue.items[least];

			if (a->value < b->value || (a->value == b->value && a->touched < b->touched))
				least = i;
		}
		if (p->queue.n == p->slots)
			p->age = queue_take(&p->queue, least).value;
		queue_push(&p->queue, (item){.key = key});
		found = &p->queue.items[p->queue.n - 1];
	}
	found->uses++;
	found->value = p->age + found->uses * (p->weight ? (double)p->weight[key] : 1.0);
	found->touched = p->now++;
	return hit;
}

/* ------------------------------------------------------------------ comparison */

static cache *open_cache(const ufm_policy *policy, uint32_t slots, const float *weight)
{
	cache_config config = {.slots = slots,
	                       .layers = 2,
	                       .experts = KEYS / 2,
	                       .policy = policy_witness(policy),
	                       .cost = weight};
	cache *c;

	assert_int_equal(cache_open(&config, &c), UFM_OK);
	return c;
}

/* Returns how many were hit, which shows that something was compared. */
static uint32_t compare(const ufm_policy *policy, plain_use *use, const float *weight,
                        uint32_t slots, uint64_t seed)
{
	plain p = {.slots = slots, .weight = weight};
	cache *c = open_cache(policy, slots, weight);
	uint32_t hits = 0;
	trace t;
	rng r;

	rng_seed(&r, seed);
	trace_random(&t, &r, 2, KEYS / 2, EVENTS, 1, (double)(seed % 4) / 2);
	for (uint32_t e = 0; e < EVENTS; e++) {
		const trace_event *event = &t.events[e];
		const cache_member *m = &t.members[event->first];
		uint32_t found = replay_event(c, event->layer, t.experts, m, 1);

		if (found != use(&p, event->layer * t.experts + m->expert))
			fail_msg("%s, %u slots, seed %llu, event %u: %s, expected the opposite", policy->name,
			         slots, (unsigned long long)seed, e, found ? "a hit" : "a miss");
		hits += found;
	}
	trace_free(&t);
	cache_close(c);
	return hits;
}

static void compare_all(const ufm_policy *policy, plain_use *use, const float *weight)
{
	uint32_t hits = 0;

	for (uint32_t slots = 1; slots < KEYS; slots++) {
		for (uint64_t seed = 1; seed <= 40; seed++)
			hits += compare(policy, use, weight, slots, seed);
	}
	assert_in_range(hits, 1, (KEYS - 1) * 40 * EVENTS - 1);
}

static void test_sieve(void **state)
{
	(void)state;
	compare_all(&policy_sieve, plain_sieve, NULL);
}

static void test_s3fifo(void **state)
{
	(void)state;
	compare_all(&policy_s3fifo, plain_s3fifo, NULL);
}

static void test_lfu(void **state)
{
	(void)state;
	compare_all(&policy_lfu, plain_aged, NULL);
}

/* Weights of 1 to 8 in no order, and some that no float holds exactly. */
static void test_cost(void **state)
{
	float weight[KEYS];

	(void)state;
	compare_all(&policy_cost, plain_aged, NULL);
	for (uint32_t key = 0; key < KEYS; key++)
		weight[key] = key % 3 ? 1.0f + (float)(key * 5 % 8) : 0.1f * (float)(key + 1);
	compare_all(&policy_cost, plain_aged, weight);
}

/* A cost is what a miss costs: with two prices the dear half is missed less than by lfu. */
static void test_cost_saves_cost(void **state)
{
	const ufm_policy *policies[] = {&policy_lfu, &policy_cost};
	float weight[KEYS];
	double paid[2] = {0, 0};

	(void)state;
	for (uint32_t key = 0; key < KEYS; key++)
		weight[key] = key % 2 ? 10.0f : 1.0f;
	for (uint32_t p = 0; p < 2; p++) {
		cache *c = open_cache(policies[p], KEYS / 2, weight);
		rng r;

		rng_seed(&r, 1);
		for (uint32_t e = 0; e < 5000; e++) {
			uint32_t key = rng_below(&r, KEYS);
			cache_member m = {.expert = key % (KEYS / 2), .tokens = 1, .next_event = UFM_NEVER};

			if (!replay_event(c, key / (KEYS / 2), KEYS / 2, &m, 1))
				paid[p] += (double)weight[key];
		}
		cache_close(c);
	}
	print_message("paid: lfu %.0f, cost %.0f\n", paid[0], paid[1]);
	assert_true(paid[1] < 0.8 * paid[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sieve),
		cmocka_unit_test(test_s3fifo),
		cmocka_unit_test(test_lfu),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_cost_saves_cost),
	};

	return cmocka_run_group_tests_name("policies by definition", tests, NULL, NULL);
}
