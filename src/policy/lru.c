/* SPDX-License-Identifier: MIT */
/* Least recently used. */
#include <assert.h>

#include "base/alloc.h"
#include "policy/key_list.h"
#include "policy/registry.h"

/*
 * The list holds the inserted keys by last use. A miss is used before it is inserted, and by then
 * later members of its event may have been used too. So a used key takes its place in the list at
 * once, as a pending one, which insert only confirms: the order is that of the uses, whatever the
 * order of the loads and whether a member was in a main slot, in the ring or nowhere. Without this
 * the number of ring slots would show in the hits.
 */
typedef struct lru {
	key_list list;
	uint8_t *inserted; /* [keys] */
	uint32_t *pending; /* [keys]; used since the last event began, when not inserted */
	uint32_t pending_count;
} lru;

static void lru_destroy(void *state)
{
	lru *l = state;

	if (!l)
		return;
	key_list_free(&l->list);
	alloc_free(l->inserted);
	alloc_free(l->pending);
	alloc_free(l);
}

static ufm_status lru_create(const ufm_policy_config *config, void **state)
{
	uint32_t keys = config->layers * config->experts;
	lru *l = alloc_zeroed(1, sizeof *l);

	if (!l)
		return UFM_ENOMEM;
	if (key_list_init(&l->list, keys) != UFM_OK)
		goto fail;
	l->inserted = alloc_zeroed(keys, sizeof *l->inserted);
	l->pending = alloc_zeroed(keys, sizeof *l->pending);
	if (!l->inserted || !l->pending)
		goto fail;
	*state = l;
	return UFM_OK;
fail:
	lru_destroy(l);
	return UFM_ENOMEM;
}

/* Members of earlier events that found no place are forgotten. */
static void lru_event(void *state, uint32_t layer)
{
	lru *l = state;

	(void)layer;
	for (uint32_t i = 0; i < l->pending_count; i++) {
		uint32_t key = l->pending[i];

		if (!l->inserted[key] && key_list_has(&l->list, key))
			key_list_unlink(&l->list, key);
	}
	l->pending_count = 0;
}

static void lru_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	lru *l = state;

	(void)use;
	if (key_list_has(&l->list, key))
		key_list_unlink(&l->list, key);
	else
		l->pending[l->pending_count++] = key;
	key_list_append(&l->list, key);
}

static void lru_insert(void *state, uint32_t key)
{
	lru *l = state;

	assert(!l->inserted[key]);
	l->inserted[key] = 1;
	if (!key_list_has(&l->list, key))
		key_list_append(&l->list, key);
}

static void lru_remove(void *state, uint32_t key)
{
	lru *l = state;

	assert(l->inserted[key]);
	l->inserted[key] = 0;
	key_list_unlink(&l->list, key);
}

/* A lingering newcomer was just used, so the least recent of all leaves for it too. */
static uint32_t lru_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	const lru *l = state;
	uint32_t key = l->list.oldest;

	(void)newcomer;
	(void)lingering;
	while (key != UFM_KEY_NONE && (!l->inserted[key] || locked[key]))
		key = l->list.younger[key];
	return key;
}

const ufm_policy policy_lru = {
	UFM_POLICY_HEADER("lru"), .source = "Least recently used; analysed by Sleator and Tarjan, 1985",
	.create = lru_create,     .destroy = lru_destroy,
	.event = lru_event,       .use = lru_use,
	.insert = lru_insert,     .remove = lru_remove,
	.victim = lru_victim,
};
