/* SPDX-License-Identifier: MIT */
/* The cache's state: opening, events, pins, ends of loads, queries. Placement is in place.c. */
#include "cache/cache.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cache/cache_int.h"

#define CACHE_KEYS_MAX (1u << 24)
#define RING_DEFAULT 4u

uint32_t cache_ring_for(uint32_t slots, uint32_t wanted)
{
	uint32_t ring = wanted ? wanted : RING_DEFAULT;

	/* Two slots let one copy overlap one product. More than half would leave the policy little to
	 * keep. */
	ring = ring > slots / 2 ? slots / 2 : ring;
	ring = ring < 2 ? 2 : ring;
	return ring > slots ? slots : ring;
}

/* ------------------------------------------------------------------ open and close */

static ufm_status check_config(const cache_config *config)
{
	uint64_t keys = (uint64_t)config->layers * config->experts;

	if (config->slots < 1 || config->slots > CACHE_KEYS_MAX)
		return status_fail(UFM_EINVAL, "slots is %u, expected 1 … %u", config->slots,
		                   CACHE_KEYS_MAX);
	if (config->slots_max &&
	    (config->slots_max < config->slots || config->slots_max > CACHE_KEYS_MAX))
		return status_fail(UFM_EINVAL, "slots_max is %u, expected 0 or %u … %u", config->slots_max,
		                   config->slots, CACHE_KEYS_MAX);
	if (config->ring > config->slots)
		return status_fail(UFM_EINVAL, "ring is %u, expected at most the %u slots", config->ring,
		                   config->slots);
	if (keys < 1 || keys > CACHE_KEYS_MAX)
		return status_fail(UFM_EINVAL, "%u layers of %u experts, expected 1 … %u keys",
		                   config->layers, config->experts, CACHE_KEYS_MAX);
	if (!config->policy)
		return status_fail(UFM_EINVAL, "policy is NULL, expected one of the registry's");
	return UFM_OK;
}

static ufm_status take_memory(cache *c)
{
	c->slots = alloc_zeroed(c->slots_max, sizeof *c->slots);
	c->slot_of = alloc_zeroed(c->keys, sizeof *c->slot_of);
	c->members = alloc_zeroed(c->keys, sizeof *c->members);
	c->locked = alloc_zeroed(c->keys, sizeof *c->locked);
	c->swept = alloc_zeroed(c->layers, sizeof *c->swept);
	c->sweeping = UFM_KEY_NONE;
	return c->slots && c->slot_of && c->members && c->locked && c->swept ? UFM_OK : UFM_ENOMEM;
}

static ufm_status open_policy(cache *c, const cache_config *from)
{
	ufm_policy_config config;

	UFM_STRUCT_INIT(&config);
	config.layers = c->layers;
	config.experts = c->experts;
	config.places = c->slots_max;
	config.seed = from->seed;
	config.cost = from->cost;
	return c->policy->create(&config, &c->policy_state);
}

static void label_slots(cache *c)
{
	c->ring = c->free_main = (slot_list){SLOT_NONE, SLOT_NONE, 0};
	for (uint32_t i = 0; i < c->slots_max; i++)
		slot_at(c, i)->view.key = UFM_KEY_NONE;
	slot_list_empty_slots(c);
	for (uint32_t key = 0; key < c->keys; key++)
		c->slot_of[key] = SLOT_NONE;
	c->free = c->slots_count;
}

ufm_status cache_open(const cache_config *config, cache **out)
{
	ufm_status status = check_config(config);
	cache *c;

	if (status)
		return status;
	c = alloc_zeroed(1, sizeof *c);
	if (!c)
		return UFM_ENOMEM;
	c->slots_count = config->slots;
	c->slots_max = config->slots_max ? config->slots_max : config->slots;
	c->ring_slots = config->ring;
	c->places = config->slots - config->ring;
	c->layers = config->layers;
	c->experts = config->experts;
	c->keys = config->layers * config->experts;
	c->policy = config->policy;
	/* A bound must cover every way to choose what stays when an event ends. */
	c->members_lock = !(config->policy->flags & UFM_POLICY_OFFLINE);
	status = take_memory(c);
	if (!status)
		status = open_policy(c, config);
	if (status) {
		cache_close(c);
		return status;
	}
	label_slots(c);
	*out = c;
	return UFM_OK;
}

void cache_close(cache *c)
{
	if (!c)
		return;
	if (c->policy_state)
		c->policy->destroy(c->policy_state);
	alloc_free(c->slots);
	alloc_free(c->slot_of);
	alloc_free(c->members);
	alloc_free(c->locked);
	alloc_free(c->swept);
	alloc_free(c);
}

/* ------------------------------------------------------------------ events */

static uint32_t member_key(const cache *c, uint32_t layer, const cache_member *member)
{
	assert(layer < c->layers && member->expert < c->experts);
	return layer * c->experts + member->expert;
}

static void tell_policy(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	c->policy->event(c->policy_state, layer);
	for (uint32_t i = 0; i < n; i++) {
		ufm_policy_use use = {.event = c->events,
		                      .next_event = members[i].next_event,
		                      .rank = i,
		                      .tokens = members[i].tokens};

		c->policy->use(c->policy_state, member_key(c, layer, &members[i]), &use);
	}
}

/* A hit in the ring may be worth a place by now, and giving it one moves no byte. */
static void offer_place(cache *c, uint32_t key)
{
	uint32_t index = c->slot_of[key], victim;

	if (!c->places || index == SLOT_NONE || !slot_at(c, index)->view.in_ring)
		return;
	if (c->free_main.count) {
		cache_swap_with_free(c, index);
		return;
	}
	victim = cache_ask_victim(c, key, true);
	if (victim != UFM_KEY_NONE)
		cache_swap_with_victim(c, index, victim);
}

static uint32_t places_of(cache *c, uint32_t layer)
{
	uint32_t found = 0;

	for (uint32_t key = layer * c->experts; key < (layer + 1) * c->experts; key++)
		found += c->slot_of[key] != SLOT_NONE && !slot_at(c, c->slot_of[key])->view.in_ring;
	return found;
}

/* All experts of a sweep are worth the same, so those that come first would stay: the layers at the front would be
 * resident and the link idle while they are computed. So on its first sweep a layer takes its share of the places. What
 * is left then is anybody's. Without a ring there would be no other way in. */
static void begin_sweep(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	uint32_t share = c->places / c->layers, has;

	if (c->swept[layer] || !c->ring_slots || !cache_is_broad(c, members, n))
		return;
	has = places_of(c, layer);
	c->sweeping = layer;
	c->sweep_room = has < share ? share - has : 0;
}

static void end_sweep(cache *c, uint32_t layer)
{
	if (c->sweeping != layer)
		return;
	c->sweeping = UFM_KEY_NONE;
	c->swept[layer] = 1;
}

/* All are locked before the first is offered a place: one member may not displace another. */
void cache_event_lock(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t key = member_key(c, layer, &members[i]);

		c->members[key]++;
		/* Pinned or not; if members do not lock, nothing has changed. */
		if (c->members_lock)
			c->locked[key] = 1;
	}
	begin_sweep(c, layer, members, n);
}

void cache_event_tell(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	tell_policy(c, layer, members, n);
	for (uint32_t i = 0; i < n && c->ring.count; i++)
		offer_place(c, member_key(c, layer, &members[i]));
	c->events++;
}

void cache_event_begin(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	cache_event_lock(c, layer, members, n);
	cache_event_tell(c, layer, members, n);
}

bool cache_is_broad(const cache *c, const cache_member *members, uint32_t n)
{
	bool broad = n > c->places;

	for (uint32_t i = 0; i < n && !broad; i++)
		broad = members[i].tokens > 1;
	return broad;
}

/* A slot of the ring becomes the oldest, so that it is filled before anybody is displaced. */
static void empty_ring_slot(cache *c, uint32_t index)
{
	slot *s = slot_at(c, index);

	s->view.state = SLOT_FREE;
	s->view.key = UFM_KEY_NONE;
	s->view.passing = false;
	slot_list_unlink(c, &c->ring, index);
	slot_list_prepend(c, &c->ring, index);
}

static void forget(cache *c, uint32_t key)
{
	uint32_t index = c->slot_of[key];
	slot *s;

	if (index == SLOT_NONE)
		return;
	s = slot_at(c, index);
	if (!s->view.passing || s->view.pins || c->members[key])
		return;
	cache_evict(c, s);
	empty_ring_slot(c, index);
}

void cache_event_end(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t key = member_key(c, layer, &members[i]);

		assert(c->members[key] > 0);
		c->members[key]--;
		cache_update_lock(c, key);
	}
	end_sweep(c, layer);
}

void cache_forget_declined(cache *c, uint32_t layer, const cache_member *members, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		forget(c, member_key(c, layer, &members[i]));
}

uint32_t cache_fills(const cache *c, uint32_t misses)
{
	return misses < c->free_main.count ? misses : c->free_main.count;
}

void cache_set_bar(cache *c, float bar)
{
	c->closed = bar <= 0;
	if (c->policy->set_bar && !c->closed)
		c->policy->set_bar(c->policy_state, bar);
}

/* ------------------------------------------------------------------ slots */

uint32_t cache_find(const cache *c, uint32_t key)
{
	assert(key < c->keys);
	return c->slot_of[key];
}

void cache_loaded(cache *c, uint32_t index, uint32_t generation)
{
	slot *s = slot_at(c, index);

	assert(index < c->slots_count);
	if (s->view.generation != generation || s->view.state != SLOT_LOADING)
		return;
	s->view.state = SLOT_READY;
	c->loading--;
	c->ready++;
}

void cache_load_failed(cache *c, uint32_t index, uint32_t generation)
{
	slot *s = slot_at(c, index);
	uint32_t key = s->view.key;

	assert(index < c->slots_count);
	if (s->view.generation != generation || s->view.state != SLOT_LOADING)
		return;
	assert(s->view.pins == 0);
	cache_evict(c, s);
	if (s->view.in_ring) {
		empty_ring_slot(c, index);
	} else {
		s->view.state = SLOT_FREE;
		s->view.key = UFM_KEY_NONE;
		c->policy->remove(c->policy_state, key);
		slot_list_append(c, &c->free_main, index);
	}
}

void cache_pin(cache *c, uint32_t index)
{
	slot *s = slot_at(c, index);

	assert(index < c->slots_count && s->view.state != SLOT_FREE);
	if (s->view.pins++ == 0) {
		c->pinned++;
		cache_update_lock(c, s->view.key);
	}
}

void cache_unpin(cache *c, uint32_t index)
{
	slot *s = slot_at(c, index);

	assert(index < c->slots_count && s->view.pins > 0);
	if (--s->view.pins == 0) {
		c->pinned--;
		cache_update_lock(c, s->view.key);
	}
}

void cache_get_stats(const cache *c, cache_stats *out)
{
	*out = (cache_stats){.slots = c->slots_count,
	                     .ring = c->ring_slots,
	                     .free = c->free,
	                     .free_places = c->free_main.count,
	                     .loading = c->loading,
	                     .ready = c->ready,
	                     .pinned = c->pinned,
	                     .used_high_water = c->used_high_water};
}

void cache_get_slot(const cache *c, uint32_t index, cache_slot *out)
{
	assert(index < c->slots_count);
	*out = c->slots[index].view;
}
