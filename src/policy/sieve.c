/* SPDX-License-Identifier: MIT */
/* First in, first out, but a hand passes over who was used since it came by last. */
#include "base/alloc.h"
#include "policy/key_list.h"
#include "policy/registry.h"

/*
 * The queue holds the inserted keys by insertion, and nobody moves in it. The hand goes from the oldest
 * to the youngest, then begins again: who was used loses the mark and stays, who was not leaves, and the
 * hand waits behind the gap. So newcomers, who enter far ahead of the hand, go soon unless they are used
 * again.
 *
 * The hand passes over locked keys and leaves their marks: that they may not leave now says nothing
 * about their use. A newcomer that lingers in the ring is one like any other: it is demanded again, and
 * would be admitted if it had to be loaded.
 */
typedef struct sieve {
	key_list queue;
	uint8_t *visited; /* [keys]; used since it was inserted, and since the hand passed it */
	uint32_t hand;    /* who is asked next; UFM_KEY_NONE: the oldest */
} sieve;

static void sieve_destroy(void *state)
{
	sieve *s = state;

	if (!s)
		return;
	key_list_free(&s->queue);
	alloc_free(s->visited);
	alloc_free(s);
}

static ufm_status sieve_create(const ufm_policy_config *config, void **state)
{
	uint32_t keys = config->layers * config->experts;
	sieve *s = alloc_zeroed(1, sizeof *s);

	if (!s)
		return UFM_ENOMEM;
	s->hand = UFM_KEY_NONE;
	s->visited = alloc_zeroed(keys, sizeof *s->visited);
	if (!s->visited || key_list_init(&s->queue, keys) != UFM_OK) {
		sieve_destroy(s);
		return UFM_ENOMEM;
	}
	*state = s;
	return UFM_OK;
}

static void sieve_event(void *state, uint32_t layer)
{
	(void)state;
	(void)layer;
}

/* The use that brings a key in is over before it is inserted, which unmarks it. */
static void sieve_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	sieve *s = state;

	(void)use;
	s->visited[key] = 1;
}

static void sieve_insert(void *state, uint32_t key)
{
	sieve *s = state;

	s->visited[key] = 0;
	key_list_append(&s->queue, key);
}

static void sieve_remove(void *state, uint32_t key)
{
	sieve *s = state;

	if (s->hand == key)
		s->hand = s->queue.younger[key];
	key_list_unlink(&s->queue, key);
}

/* In one round every key that is not locked has lost its mark, and in a second one is found. */
static uint32_t sieve_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	sieve *s = state;
	uint32_t key = s->hand;

	(void)newcomer;
	(void)lingering;
	for (uint64_t asked = 0; asked < 2 * (uint64_t)s->queue.count; asked++) {
		if (key == UFM_KEY_NONE)
			key = s->queue.oldest;
		if (!locked[key]) {
			if (!s->visited[key]) {
				s->hand = key;
				return key;
			}
			s->visited[key] = 0;
		}
		key = s->queue.younger[key];
	}
	return UFM_KEY_NONE;
}

const ufm_policy policy_sieve = {
	UFM_POLICY_HEADER("sieve"), .source = "SIEVE; Zhang et al., NSDI 2024",
	.create = sieve_create,     .destroy = sieve_destroy,
	.event = sieve_event,       .use = sieve_use,
	.insert = sieve_insert,     .remove = sieve_remove,
	.victim = sieve_victim,
};
