/* SPDX-License-Identifier: MIT */
/* Every invariant of the cache, for tests. */
#include "cache/cache_int.h"

static bool expect(bool holds, const char *sentence, const char **why)
{
	if (!holds)
		*why = sentence;
	return holds;
}

static bool check_slot(const cache *c, uint32_t index, const char **why)
{
	const cache_slot *view = &c->slots[index].view;

	if (view->state == SLOT_FREE)
		return expect(view->key == UFM_KEY_NONE, "a free slot has a tenant", why) &&
		       expect(view->pins == 0, "a free slot is pinned", why);
	return expect(view->key < c->keys, "a slot's key is out of range", why) &&
	       expect(c->slot_of[view->key] == index, "a slot's tenant is not found in it", why) &&
	       expect(view->generation > 0, "a tenant has generation 0", why);
}

static bool check_counts(const cache *c, const char **why)
{
	uint32_t by_state[3] = {0}, pinned = 0, ring = 0, tenants = 0;

	for (uint32_t i = 0; i < c->slots_count; i++) {
		if (!check_slot(c, i, why))
			return false;
		by_state[c->slots[i].view.state]++;
		pinned += c->slots[i].view.pins > 0;
		ring += c->slots[i].view.in_ring;
	}
	for (uint32_t key = 0; key < c->keys; key++)
		tenants += c->slot_of[key] != SLOT_NONE;
	for (uint32_t i = c->slots_count; i < c->slots_max; i++) {
		if (!expect(c->slots[i].view.state == SLOT_FREE && c->slots[i].view.key == UFM_KEY_NONE,
		            "a slot that went has a tenant", why))
			return false;
	}
	return expect(by_state[SLOT_FREE] == c->free && by_state[SLOT_LOADING] == c->loading &&
	                  by_state[SLOT_READY] == c->ready,
	              "a count of states is wrong", why) &&
	       expect(c->free + c->loading + c->ready == c->slots_count,
	              "free + loading + ready differs from slots", why) &&
	       expect(tenants == c->loading + c->ready, "a key is in two slots", why) &&
	       expect(pinned == c->pinned, "the count of pinned slots is wrong", why) &&
	       expect(ring == c->ring_slots, "the number of ring slots changed", why) &&
	       expect(c->used_high_water >= tenants, "the high-water mark is too low", why);
}

/* Walks at most `slots` steps, so that a list that bites its tail is found, not followed. */
static bool check_list(const cache *c, const slot_list *list, bool in_ring, const char **why)
{
	uint32_t index = list->oldest, before = SLOT_NONE, steps = 0;

	for (; index != SLOT_NONE && steps < c->slots_count; steps++) {
		if (!expect(c->slots[index].older == before, "a list's links disagree", why) ||
		    !expect(c->slots[index].view.in_ring == in_ring, "a slot is in the wrong list", why))
			return false;
		before = index;
		index = c->slots[index].younger;
	}
	return expect(index == SLOT_NONE && before == list->youngest, "a list has no end", why) &&
	       expect(steps == list->count, "a list's count is wrong", why);
}

static bool check_ring(const cache *c, const char **why)
{
	bool tenant_seen = false;

	if (!check_list(c, &c->ring, true, why))
		return false;
	for (uint32_t i = c->ring.oldest; i != SLOT_NONE; i = c->slots[i].younger) {
		bool is_free = c->slots[i].view.state == SLOT_FREE;

		if (!expect(!(tenant_seen && is_free), "a free ring slot is not at the old end", why))
			return false;
		tenant_seen = tenant_seen || !is_free;
	}
	return expect(c->ring.count == c->ring_slots, "the ring's list lost a slot", why);
}

static bool check_free_main(const cache *c, const char **why)
{
	uint32_t free_main = 0;

	if (!check_list(c, &c->free_main, false, why))
		return false;
	for (uint32_t i = c->free_main.oldest; i != SLOT_NONE; i = c->slots[i].younger) {
		if (!expect(c->slots[i].view.state == SLOT_FREE, "the free list holds a tenant", why))
			return false;
	}
	for (uint32_t i = 0; i < c->slots_count; i++)
		free_main += !c->slots[i].view.in_ring && c->slots[i].view.state == SLOT_FREE;
	return expect(free_main == c->free_main.count, "a free main slot is not listed", why);
}

static bool check_locks(const cache *c, const char **why)
{
	for (uint32_t key = 0; key < c->keys; key++) {
		uint32_t index = c->slot_of[key];
		bool locked = (c->members_lock && c->members[key] > 0) ||
		              (index != SLOT_NONE && c->slots[index].view.pins > 0);

		if (!expect(locked == (c->locked[key] != 0), "a key's lock is out of date", why))
			return false;
	}
	return true;
}

bool cache_check(const cache *c, const char **why)
{
	return check_counts(c, why) && check_ring(c, why) && check_free_main(c, why) &&
	       check_locks(c, why);
}
