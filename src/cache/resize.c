/* SPDX-License-Identifier: MIT */
/* More or fewer slots: who stays, and where. */
#include <assert.h>

#include "base/status.h"
#include "cache/cache_int.h"

/*
 * Slots are addresses, and those that go are the last ones, whoever lives there. A tenant that ranks
 * higher than one of a slot that remains takes that slot over instead of being dropped: a move is a
 * copy inside device memory, which costs a small part of the copy over the link that dropping would
 * cost at the next use. So what stays is what the policy would keep, as if slots had no addresses.
 *
 * The rank of a tenant is the order in which it would leave anyway: those of the ring from its oldest
 * on, then those of the places as the policy names them. Pins are the exception: they stay.
 */

static uint32_t used_slots(const cache *c)
{
	return c->loading + c->ready;
}

static ufm_status check_sizes(const cache *c, uint32_t slots, uint32_t ring)
{
	uint32_t pinned = 0;

	if (slots < 1 || slots > c->slots_max)
		return status_fail(UFM_EINVAL, "slots is %u, expected 1 … %u", slots, c->slots_max);
	if (ring > slots)
		return status_fail(UFM_EINVAL, "ring is %u, expected at most the %u slots", ring, slots);
	for (uint32_t i = slots; i < c->slots_count; i++)
		pinned += c->slots[i].view.pins > 0;
	if (pinned)
		return status_fail(UFM_EBUSY, "%u of the %u slots that go are pinned", pinned,
		                   c->slots_count - slots);
	if (c->pinned > slots - ring)
		return status_fail(UFM_EBUSY, "%u slots are pinned, and %u places would remain", c->pinned,
		                   slots - ring);
	return UFM_OK;
}

/* What is empty gets its label when all tenants have theirs. */
static void unlist_empty_slots(cache *c)
{
	while (c->ring.oldest != SLOT_NONE && slot_at(c, c->ring.oldest)->view.state == SLOT_FREE)
		slot_list_unlink(c, &c->ring, c->ring.oldest);
	while (c->free_main.oldest != SLOT_NONE)
		slot_list_unlink(c, &c->free_main, c->free_main.oldest);
}

static void drop(cache *c, uint32_t ring_slot)
{
	slot *s = slot_at(c, ring_slot);

	slot_list_unlink(c, &c->ring, ring_slot);
	cache_evict(c, s);
	s->view.state = SLOT_FREE;
	s->view.key = UFM_KEY_NONE;
}

/* Never all of the places are pinned here: there are more tenants in them, or as many while one of
 * the ring is pinned, than check_sizes lets be pinned. */
static void demote(cache *c)
{
	uint32_t victim = cache_ask_victim(c, UFM_KEY_NONE, false);

	assert(victim != UFM_KEY_NONE);
	cache_make_ring(c, victim);
}

/* Only tenants are in the ring's list, so its count is theirs. */
static uint32_t relabel(cache *c, uint32_t slots, uint32_t ring)
{
	uint32_t places = slots - ring, dropped = 0;

	while (used_slots(c) - c->ring.count > places)
		demote(c);
	while (c->ring.count > ring) {
		uint32_t idle = used_slots(c) > slots ? cache_oldest_unpinned(c, true) : SLOT_NONE;

		if (idle != SLOT_NONE) {
			drop(c, idle);
			dropped++;
		} else if (used_slots(c) - c->ring.count == places) {
			demote(c);
		} else {
			cache_make_main(c, c->ring.oldest);
		}
	}
	return dropped;
}

static void move_tenant(cache *c, uint32_t from, uint32_t to)
{
	slot *s = slot_at(c, from), *t = slot_at(c, to);
	uint32_t generation = t->view.generation + 1;

	assert(s->view.state == SLOT_READY && s->view.pins == 0);
	if (s->view.in_ring)
		slot_list_replace(c, &c->ring, from, to);
	t->view = s->view;
	t->view.generation = generation;
	t->view.state = SLOT_LOADING;
	s->view.state = SLOT_FREE;
	s->view.key = UFM_KEY_NONE;
	c->slot_of[t->view.key] = to;
	c->ready--;
	c->loading++;
}

static uint32_t move_out(cache *c, uint32_t slots, cache_move *moves)
{
	uint32_t to = 0, n = 0;

	for (uint32_t from = slots; from < c->slots_count; from++) {
		if (slot_at(c, from)->view.state == SLOT_FREE)
			continue;
		while (slot_at(c, to)->view.state != SLOT_FREE)
			to++;
		move_tenant(c, from, to);
		moves[n++] =
			(cache_move){.from = from, .to = to, .generation = slot_at(c, to)->view.generation};
	}
	assert(to < slots);
	return n;
}

ufm_status cache_resize(cache *c, uint32_t slots, uint32_t ring, cache_move *moves,
                        cache_resized *out)
{
	ufm_status status = check_sizes(c, slots, ring);

	if (status != UFM_OK)
		return status;
	assert(slots >= c->slots_count || c->loading == 0);
	unlist_empty_slots(c);
	out->evictions = relabel(c, slots, ring);
	out->moves = move_out(c, slots, moves);
	c->slots_count = slots;
	c->ring_slots = ring;
	c->places = slots - ring;
	c->free = slots - used_slots(c);
	slot_list_empty_slots(c);
	return UFM_OK;
}
