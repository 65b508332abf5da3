/* SPDX-License-Identifier: MIT */
/* Three queues, first in, first out: newcomers prove themselves in a small one. */
#include "base/alloc.h"
#include "policy/key_list.h"
#include "policy/registry.h"

/*
 * Newcomers enter the small queue. Its oldest, when it is to leave, moves to the main queue if it was
 * used twice meanwhile; else it goes, and the ghost queue remembers its name. A newcomer whose name is
 * there enters the main queue at once. The oldest of the main queue goes if it was not used; else it
 * becomes its youngest, and one of its uses is forgotten.
 *
 * Who has to give somebody up: the small queue while it holds its share of all inserted keys or more,
 * else the main queue. Locked keys are passed over and keep their place and their uses, so they are
 * asked first when they are unlocked; where all of a queue are locked the other one is asked. How many
 * keys there are is counted, not configured, so the queues follow a cache that is resized.
 *
 * A newcomer that lingers in the ring is one like any other: mostly the ghost queue knows it, and it
 * enters the main queue.
 */

/* The small queue's share is a tenth, and the ghost queue remembers as many as the main one's. */
#define SMALL_PART 10
#define USES_MAX 3
/* Uses in the small queue that prove a key. */
#define USES_PROVED 2

typedef struct s3fifo {
	key_list small, main, ghost;
	uint8_t *uses; /* [keys]; since it entered its queue, at most USES_MAX */
} s3fifo;

static void s3fifo_destroy(void *state)
{
	s3fifo *s = state;

	if (!s)
		return;
	key_list_free(&s->small);
	key_list_free(&s->main);
	key_list_free(&s->ghost);
	alloc_free(s->uses);
	alloc_free(s);
}

static ufm_status s3fifo_create(const ufm_policy_config *config, void **state)
{
	uint32_t keys = config->layers * config->experts;
	s3fifo *s = alloc_zeroed(1, sizeof *s);

	if (!s)
		return UFM_ENOMEM;
	s->uses = alloc_zeroed(keys, sizeof *s->uses);
	if (!s->uses || key_list_init(&s->small, keys) != UFM_OK ||
	    key_list_init(&s->main, keys) != UFM_OK || key_list_init(&s->ghost, keys) != UFM_OK) {
		s3fifo_destroy(s);
		return UFM_ENOMEM;
	}
	*state = s;
	return UFM_OK;
}

static void s3fifo_event(void *state, uint32_t layer)
{
	(void)state;
	(void)layer;
}

/* The use that brings a key in is over before it is inserted, which forgets it. */
static void s3fifo_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	s3fifo *s = state;

	(void)use;
	if (s->uses[key] < USES_MAX)
		s->uses[key]++;
}

static void s3fifo_insert(void *state, uint32_t key)
{
	s3fifo *s = state;

	s->uses[key] = 0;
	if (key_list_has(&s->ghost, key)) {
		key_list_unlink(&s->ghost, key);
		key_list_append(&s->main, key);
	} else {
		key_list_append(&s->small, key);
	}
}

static uint32_t small_share(uint32_t keys)
{
	return keys < SMALL_PART ? 1 : keys / SMALL_PART;
}

static void remember(s3fifo *s, uint32_t key)
{
	uint32_t keys = s->small.count + s->main.count + 1; /* with the one that goes */

	key_list_append(&s->ghost, key);
	while (s->ghost.count > keys - small_share(keys))
		key_list_unlink(&s->ghost, s->ghost.oldest);
}

static void s3fifo_remove(void *state, uint32_t key)
{
	s3fifo *s = state;

	if (key_list_has(&s->main, key)) {
		key_list_unlink(&s->main, key);
	} else {
		key_list_unlink(&s->small, key);
		remember(s, key);
	}
}

/* `key` or the next younger one that is not locked. */
static uint32_t unlocked_from(const key_list *list, uint32_t key, const uint8_t *locked)
{
	while (key != UFM_KEY_NONE && locked[key])
		key = list->younger[key];
	return key;
}

/* Moves those who proved themselves, as long as the queue holds `least` or more. */
static uint32_t leave_small(s3fifo *s, const uint8_t *locked, uint32_t least)
{
	uint32_t key = unlocked_from(&s->small, s->small.oldest, locked);

	while (key != UFM_KEY_NONE && s->small.count >= least) {
		uint32_t next = unlocked_from(&s->small, s->small.younger[key], locked);

		if (s->uses[key] < USES_PROVED)
			return key;
		key_list_unlink(&s->small, key);
		key_list_append(&s->main, key);
		s->uses[key] = 0;
		key = next;
	}
	return UFM_KEY_NONE;
}

/* Who is put back loses a use, so the end of the queue comes round to it at last. */
static uint32_t leave_main(s3fifo *s, const uint8_t *locked)
{
	uint32_t key = unlocked_from(&s->main, s->main.oldest, locked);

	while (key != UFM_KEY_NONE && s->uses[key]) {
		uint32_t next = s->main.younger[key];

		s->uses[key]--;
		key_list_unlink(&s->main, key);
		key_list_append(&s->main, key);
		key = unlocked_from(&s->main, next == UFM_KEY_NONE ? key : next, locked);
	}
	return key;
}

static uint32_t s3fifo_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	s3fifo *s = state;
	uint32_t victim = leave_small(s, locked, small_share(s->small.count + s->main.count));

	(void)newcomer;
	(void)lingering;
	if (victim == UFM_KEY_NONE)
		victim = leave_main(s, locked);
	if (victim == UFM_KEY_NONE)
		victim = leave_small(s, locked, 1);
	/* All that were unlocked in the small queue may just have moved. */
	return victim != UFM_KEY_NONE ? victim : leave_main(s, locked);
}

const ufm_policy policy_s3fifo = {
	UFM_POLICY_HEADER("s3fifo"), .source = "S3-FIFO; Yang et al., SOSP 2023",
	.create = s3fifo_create,     .destroy = s3fifo_destroy,
	.event = s3fifo_event,       .use = s3fifo_use,
	.insert = s3fifo_insert,     .remove = s3fifo_remove,
	.victim = s3fifo_victim,
};
