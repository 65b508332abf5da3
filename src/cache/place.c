/* SPDX-License-Identifier: MIT */
/* Which slot a newcomer gets, and which expert it displaces. */
#include <assert.h>

#include "base/status.h"
#include "cache/cache_int.h"

/*
 * The rules, in order. Each is tried when those before it found nothing.
 *
 * 1. A free main slot. Nobody has to leave, so there is nothing to ask. But a layer's first sweep takes its share of the
 *    places at most, and beyond that displaces nobody.
 * 2. The oldest ring slot that is free, or that nobody uses and whose tenant this event does not
 *    demand. The newcomer is loaded there in any case: its bytes must be somewhere, and the ring's
 *    oldest is what would go next. Then the policy is asked. If it gives up somebody, labels swap:
 *    no second copy, and the victim stays readable as the ring's youngest until the ring comes
 *    round. Else the newcomer is the ring's youngest and passes through.
 * 3. Every ring slot is in use or demanded, but the policy gives up somebody: straight into that
 *    main slot. With ring = 0 this is the only way in.
 * 4. The oldest ring slot that nobody uses, although this event demands its tenant. The layer wants
 *    more than fits. Its first members were used before the ones that are loaded now, so this
 *    tenant has done its work, and giving up one of the ring costs the next step nothing: of all
 *    members only as many can stay as there are slots, whichever they are. The main slots are
 *    spared, so that what is kept of a sweep is the same on the next one.
 * 5. Any main slot that nobody uses. The whole ring is pinned: a lease larger than the ring. The
 *    policy declined, or all candidates are members; but a caller waits for these bytes, and a
 *    demand comes before an opinion. Those that the event does not demand go first.
 * 6. Every slot is pinned: UFM_EBUSY.
 *
 * Without a ring (replay, or everything resident) only 1 and 3 apply: what the policy declines goes
 * nowhere, because nothing is loaded that would need a slot on its way, and members are not stolen.
 */

/* ------------------------------------------------------------------ labels */

uint32_t cache_ask_victim(cache *c, uint32_t newcomer, bool lingering)
{
	uint32_t victim;

	if (!c->places)
		return UFM_KEY_NONE;
	victim = c->policy->victim(c->policy_state, newcomer, c->locked, lingering);
	assert(victim == UFM_KEY_NONE || (victim < c->keys && !c->locked[victim]));
	assert(victim == UFM_KEY_NONE || c->slot_of[victim] != SLOT_NONE);
	return victim;
}

void cache_make_main(cache *c, uint32_t ring_slot)
{
	slot_list_unlink(c, &c->ring, ring_slot);
	slot_at(c, ring_slot)->view.in_ring = false;
	slot_at(c, ring_slot)->view.passing = false;
	c->policy->insert(c->policy_state, slot_at(c, ring_slot)->view.key);
}

void cache_make_ring(cache *c, uint32_t victim)
{
	uint32_t main_slot = c->slot_of[victim];

	assert(!slot_at(c, main_slot)->view.in_ring);
	c->policy->remove(c->policy_state, victim);
	slot_at(c, main_slot)->view.in_ring = true;
	slot_list_append(c, &c->ring, main_slot);
}

void cache_swap_with_victim(cache *c, uint32_t ring_slot, uint32_t victim)
{
	cache_make_ring(c, victim);
	cache_make_main(c, ring_slot);
}

void cache_swap_with_free(cache *c, uint32_t ring_slot)
{
	uint32_t free_slot = c->free_main.oldest;

	slot_list_unlink(c, &c->free_main, free_slot);
	slot_at(c, free_slot)->view.in_ring = true;
	slot_list_prepend(c, &c->ring, free_slot);
	cache_make_main(c, ring_slot);
}

static void make_youngest(cache *c, uint32_t ring_slot)
{
	slot_list_unlink(c, &c->ring, ring_slot);
	slot_list_append(c, &c->ring, ring_slot);
}

/* ------------------------------------------------------------------ tenants */

static void count_high_water(cache *c)
{
	if (c->loading + c->ready > c->used_high_water)
		c->used_high_water = c->loading + c->ready;
}

uint32_t cache_evict(cache *c, slot *s)
{
	uint32_t key = s->view.key;

	if (s->view.state == SLOT_LOADING)
		c->loading--;
	else
		c->ready--;
	c->free++;
	c->slot_of[key] = SLOT_NONE;
	cache_update_lock(c, key);
	return key;
}

/* The slot gets a new tenant, whose load begins. */
static void settle(cache *c, uint32_t index, uint32_t key, cache_placement *out)
{
	slot *s = slot_at(c, index);

	assert(s->view.pins == 0);
	out->evicted_key = s->view.state == SLOT_FREE ? UFM_KEY_NONE : cache_evict(c, s);
	s->view.key = key;
	s->view.state = SLOT_LOADING;
	s->view.passing = false;
	s->view.generation++;
	c->slot_of[key] = index;
	c->free--;
	c->loading++;
	count_high_water(c);
	out->slot = index;
	out->generation = s->view.generation;
}

/* ------------------------------------------------------------------ rules */

static bool fill_free_main(cache *c, uint32_t key, cache_placement *out)
{
	uint32_t index = c->free_main.oldest;

	if (index == SLOT_NONE)
		return false;
	slot_list_unlink(c, &c->free_main, index);
	settle(c, index, key, out);
	c->policy->insert(c->policy_state, key);
	out->kept = true;
	return true;
}

static bool is_swept_now(const cache *c, uint32_t key)
{
	return c->sweeping == key / c->experts;
}

static bool has_its_share(const cache *c, uint32_t key)
{
	return is_swept_now(c, key) && c->sweep_room == 0 && c->free_main.count;
}

static bool place_in_free_main(cache *c, uint32_t key, cache_placement *out)
{
	if (c->closed || has_its_share(c, key) || !fill_free_main(c, key, out))
		return false;
	if (is_swept_now(c, key))
		c->sweep_room--;
	return true;
}

static uint32_t victim_of(cache *c, uint32_t newcomer)
{
	return c->closed || has_its_share(c, newcomer) ? UFM_KEY_NONE
	                                               : cache_ask_victim(c, newcomer, false);
}

uint32_t cache_oldest_unpinned(cache *c, bool members_too)
{
	uint32_t index = c->ring.oldest;

	for (; index != SLOT_NONE; index = slot_at(c, index)->younger) {
		const cache_slot *view = &slot_at(c, index)->view;

		if (view->state == SLOT_FREE)
			break;
		if (view->pins == 0 && (members_too || c->members[view->key] == 0))
			break;
	}
	return index;
}

static void pass_through(cache *c, uint32_t ring_slot)
{
	slot_at(c, ring_slot)->view.passing = true;
	make_youngest(c, ring_slot);
}

static bool reserve_in_ring(cache *c, uint32_t key, cache_placement *out)
{
	uint32_t index = cache_oldest_unpinned(c, false);

	if (index == SLOT_NONE)
		return false;
	settle(c, index, key, out);
	make_youngest(c, index);
	out->kept = false;
	return true;
}

/* The victim's slot goes where the newcomer's was in the ring: its youngest, but for newcomers that came since. */
static void take_place_of(cache *c, uint32_t ring_slot, uint32_t victim)
{
	uint32_t main_slot = c->slot_of[victim];

	c->policy->remove(c->policy_state, victim);
	slot_list_replace(c, &c->ring, ring_slot, main_slot);
	slot_at(c, main_slot)->view.in_ring = true;
	slot_at(c, ring_slot)->view.in_ring = false;
	c->policy->insert(c->policy_state, slot_at(c, ring_slot)->view.key);
}

bool cache_reserve(cache *c, uint32_t key, cache_placement *out)
{
	assert(key < c->keys && c->slot_of[key] == SLOT_NONE);
	return place_in_free_main(c, key, out) || reserve_in_ring(c, key, out);
}

bool cache_decide(cache *c, uint32_t key)
{
	uint32_t index = c->slot_of[key], victim;

	assert(index != SLOT_NONE);
	if (!slot_at(c, index)->view.in_ring)
		return true;
	victim = victim_of(c, key);
	if (victim == UFM_KEY_NONE)
		slot_at(c, index)->view.passing = true;
	else
		take_place_of(c, index, victim);
	return victim != UFM_KEY_NONE;
}

static void displace(cache *c, uint32_t victim, uint32_t key, cache_placement *out)
{
	uint32_t index = c->slot_of[victim];

	c->policy->remove(c->policy_state, victim);
	settle(c, index, key, out);
	c->policy->insert(c->policy_state, key);
	out->kept = true;
}

static bool place_on_victim(cache *c, uint32_t key, cache_placement *out)
{
	uint32_t victim = victim_of(c, key);

	if (victim == UFM_KEY_NONE)
		return false;
	displace(c, victim, key, out);
	return true;
}

static bool place_on_ring_member(cache *c, uint32_t key, cache_placement *out)
{
	uint32_t index = cache_oldest_unpinned(c, true);

	if (index == SLOT_NONE)
		return false;
	settle(c, index, key, out);
	pass_through(c, index);
	out->kept = false;
	return true;
}

static uint32_t unpinned_main(const cache *c, bool members_too)
{
	for (uint32_t i = 0; i < c->slots_count; i++) {
		const cache_slot *view = &c->slots[i].view;

		if (!view->in_ring && view->pins == 0 && (members_too || c->members[view->key] == 0))
			return view->key;
	}
	return UFM_KEY_NONE;
}

static bool place_by_force(cache *c, uint32_t key, cache_placement *out)
{
	uint32_t victim = unpinned_main(c, false);

	if (victim == UFM_KEY_NONE)
		victim = unpinned_main(c, true);
	if (victim == UFM_KEY_NONE)
		return false;
	displace(c, victim, key, out);
	return true;
}

static bool would_keep(cache *c, uint32_t key)
{
	return !has_its_share(c, key) &&
	       (c->free_main.count || cache_ask_victim(c, key, false) != UFM_KEY_NONE);
}

uint32_t cache_appeal(cache *c, uint32_t key)
{
	uint32_t passed = 0;
	float bar = 1;

	assert(key < c->keys && c->slot_of[key] == SLOT_NONE);
	for (; passed < CACHE_APPEAL_MAX; passed++, bar *= 0.7f) {
		cache_set_bar(c, bar);
		if (!would_keep(c, key))
			break;
	}
	cache_set_bar(c, 1);
	return passed;
}

ufm_status cache_place(cache *c, uint32_t key, cache_placement *out)
{
	if (cache_reserve(c, key, out)) {
		out->kept = cache_decide(c, key);
		return UFM_OK;
	}
	if (place_on_victim(c, key, out))
		return UFM_OK;
	if (c->ring_slots == 0) {
		*out = (cache_placement){.slot = SLOT_NONE, .evicted_key = UFM_KEY_NONE};
		return UFM_OK;
	}
	if (place_on_ring_member(c, key, out) || fill_free_main(c, key, out) ||
	    place_by_force(c, key, out))
		return UFM_OK;
	return status_fail(UFM_EBUSY, "all %u slots are pinned", c->slots_count);
}

/* Free ring slots are at the old end. A hint has no claim to a place, so the policy hears of the
 * newcomer only in a main slot. */
ufm_status cache_place_free(cache *c, uint32_t key, cache_placement *out)
{
	uint32_t index = c->ring.oldest;

	assert(key < c->keys && c->slot_of[key] == SLOT_NONE);
	if (!c->closed && fill_free_main(c, key, out))
		return UFM_OK;
	if (index == SLOT_NONE || slot_at(c, index)->view.state != SLOT_FREE)
		return status_fail(UFM_EBUSY, "all %u slots hold an expert", c->slots_count);
	settle(c, index, key, out);
	make_youngest(c, index);
	out->kept = false;
	return UFM_OK;
}
