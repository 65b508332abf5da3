/* SPDX-License-Identifier: MIT */
/* The offline bounds: whose next use is farthest leaves. `min` admits every newcomer; `min-bypass`
 * lets one pass whose own next use is farther still. */
#include "base/alloc.h"
#include "policy/key_heap.h"
#include "policy/registry.h"

/*
 * What they bound, with ring = 0 (tests/property/test_policy_bound.c checks it by exhaustive search
 * and against every policy):
 *
 * min         The hits of any way to serve a trace that admits every expert: when an event ends, all
 *             of its members are resident, or, if there are more of them than slots, nothing else
 *             is. That is every policy without UFM_POLICY_MAY_BYPASS on a cache of as many slots,
 *             ring included.
 * min-bypass  The hits of any way to serve a trace in which no more blocks stay from one event to
 *             the next than there are slots, and nothing comes that was not demanded. That is every
 *             policy.
 *
 * The cache locks no members for a bound, so min spares those of the current event itself.
 */
typedef struct min_state {
	key_heap inserted;    /* the farthest next use first */
	uint64_t *next_event; /* [keys] */
	uint64_t *used_at;    /* [keys]; 1 + number of the last event that demanded it */
} min_state;

static void min_destroy(void *state)
{
	min_state *m = state;

	if (!m)
		return;
	key_heap_free(&m->inserted);
	alloc_free(m->next_event);
	alloc_free(m->used_at);
	alloc_free(m);
}

static ufm_status min_create(const ufm_policy_config *config, void **state)
{
	uint32_t keys = config->layers * config->experts;
	min_state *m = alloc_zeroed(1, sizeof *m);

	if (!m)
		return UFM_ENOMEM;
	if (key_heap_init(&m->inserted, config->places, keys) != UFM_OK)
		goto fail;
	m->next_event = alloc_zeroed(keys, sizeof *m->next_event);
	m->used_at = alloc_zeroed(keys, sizeof *m->used_at);
	if (!m->next_event || !m->used_at)
		goto fail;
	*state = m;
	return UFM_OK;
fail:
	min_destroy(m);
	return UFM_ENOMEM;
}

static void min_event(void *state, uint32_t layer)
{
	(void)state;
	(void)layer;
}

static key_rank rank_of(const min_state *m, uint32_t key)
{
	return (key_rank){.rank = UFM_NEVER - m->next_event[key]};
}

static void min_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	min_state *m = state;

	m->next_event[key] = use->next_event;
	m->used_at[key] = use->event + 1;
	if (key_heap_has(&m->inserted, key))
		key_heap_set(&m->inserted, key, rank_of(m, key));
}

static void min_insert(void *state, uint32_t key)
{
	min_state *m = state;

	key_heap_add(&m->inserted, key, rank_of(m, key));
}

static void min_remove(void *state, uint32_t key)
{
	min_state *m = state;

	key_heap_drop(&m->inserted, key);
}

static uint32_t min_bypass_victim(void *state, uint32_t newcomer, const uint8_t *locked,
                                  bool lingering)
{
	const min_state *m = state;
	uint32_t victim = key_heap_least(&m->inserted, locked, NULL, 0);

	(void)lingering;
	if (victim == UFM_KEY_NONE || newcomer == UFM_KEY_NONE)
		return victim;
	return m->next_event[victim] > m->next_event[newcomer] ? victim : UFM_KEY_NONE;
}

/* A newcomer is of the current event. When its fellow members hold every place, not all of them can
 * stay, and it is free which do. */
static uint32_t min_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	const min_state *m = state;
	uint32_t victim = UFM_KEY_NONE;

	if (!lingering && newcomer != UFM_KEY_NONE)
		victim = key_heap_least(&m->inserted, locked, m->used_at, m->used_at[newcomer]);
	return victim != UFM_KEY_NONE ? victim : min_bypass_victim(state, newcomer, locked, lingering);
}

const ufm_policy policy_min = {
	UFM_POLICY_HEADER("min"),
	.flags = UFM_POLICY_OFFLINE,
	.source = "MIN; Belady, 1966, extended to events of several members",
	.create = min_create,
	.destroy = min_destroy,
	.event = min_event,
	.use = min_use,
	.insert = min_insert,
	.remove = min_remove,
	.victim = min_victim,
};

const ufm_policy policy_min_bypass = {
	UFM_POLICY_HEADER("min-bypass"),
	.flags = UFM_POLICY_OFFLINE | UFM_POLICY_MAY_BYPASS,
	.source = "MIN with exclusion; McFarling, 1992, extended to events of several members",
	.create = min_create,
	.destroy = min_destroy,
	.event = min_event,
	.use = min_use,
	.insert = min_insert,
	.remove = min_remove,
	.victim = min_bypass_victim,
};
