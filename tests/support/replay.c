/* SPDX-License-Identifier: MIT */
/* Routing traces, and a cache driven through them the way an engine drives it. */
#include "support/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static void require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "replay: %s\n", what);
	abort();
}

/* ------------------------------------------------------------------ traces */

void trace_init(trace *t, uint32_t layers, uint32_t experts, uint32_t events, uint32_t members)
{
	*t = (trace){.layers = layers, .experts = experts};
	t->events = alloc_zeroed(events, sizeof *t->events);
	t->members = alloc_zeroed(members, sizeof *t->members);
	require(t->events && t->members, "no memory for a trace");
}

void trace_free(trace *t)
{
	alloc_free(t->events);
	alloc_free(t->members);
	*t = (trace){0};
}

void trace_begin(trace *t, uint32_t layer)
{
	t->events[t->event_count++] = (trace_event){.layer = layer, .first = t->member_count};
}

void trace_add(trace *t, uint32_t expert)
{
	t->members[t->member_count++] =
		(cache_member){.expert = expert, .tokens = 1, .next_event = UFM_NEVER};
	t->events[t->event_count - 1].n++;
}

void trace_link(trace *t)
{
	uint32_t keys = t->layers * t->experts;
	uint64_t *next = alloc_zeroed(keys, sizeof *next);

	require(next != NULL, "no memory for a trace");
	for (uint32_t key = 0; key < keys; key++)
		next[key] = UFM_NEVER;
	for (uint32_t e = t->event_count; e-- > 0;) {
		const trace_event *event = &t->events[e];

		for (uint32_t i = 0; i < event->n; i++) {
			cache_member *member = &t->members[event->first + i];
			uint32_t key = event->layer * t->experts + member->expert;

			member->next_event = next[key];
			next[key] = e;
		}
	}
	alloc_free(next);
}

static bool event_has(const trace *t, const trace_event *event, uint32_t expert)
{
	for (uint32_t i = 0; i < event->n; i++) {
		if (t->members[event->first + i].expert == expert)
			return true;
	}
	return false;
}

static uint32_t draw_expert(rng *r, uint32_t experts, double skew)
{
	uint32_t expert = (uint32_t)(experts * pow(rng_unit(r), 1.0 + skew));

	return expert < experts ? expert : experts - 1;
}

void trace_random(trace *t, rng *r, uint32_t layers, uint32_t experts, uint32_t events,
                  uint32_t members_max, double skew)
{
	trace_init(t, layers, experts, events, events * members_max);
	for (uint32_t e = 0; e < events; e++) {
		uint32_t n = 1 + rng_below(r, members_max);

		trace_begin(t, rng_below(r, layers));
		while (t->events[e].n < n) {
			uint32_t expert = draw_expert(r, experts, skew);

			if (!event_has(t, &t->events[e], expert))
				trace_add(t, expert);
		}
	}
	trace_link(t);
}

void trace_from_ids(trace *t, const uint8_t *ids, uint64_t tokens, uint32_t layers, uint32_t ranks,
                    uint32_t experts, uint32_t layer)
{
	bool all = layer == UINT32_MAX;
	uint32_t events = (uint32_t)tokens * (all ? layers : 1);

	trace_init(t, all ? layers : 1, experts, events, events * ranks);
	for (uint64_t token = 0; token < tokens; token++) {
		for (uint32_t l = all ? 0 : layer; l < (all ? layers : layer + 1); l++) {
			trace_begin(t, all ? l : 0);
			for (uint32_t k = 0; k < ranks; k++)
				trace_add(t, ids[(token * layers + l) * ranks + k]);
		}
	}
	trace_link(t);
}

/* ------------------------------------------------------------------ replay */

static void load(cache *c, uint32_t key)
{
	cache_placement place;

	require(cache_place(c, key, &place) == UFM_OK, "a miss found no slot");
	if (place.slot == SLOT_NONE)
		return;
	cache_pin(c, place.slot);
	cache_loaded(c, place.slot, place.generation);
	cache_unpin(c, place.slot);
}

uint32_t replay_event(cache *c, uint32_t layer, uint32_t experts, const cache_member *members,
                      uint32_t n)
{
	uint32_t hits = 0;
	uint32_t *missing = alloc_zeroed(n, sizeof *missing);
	uint32_t *slots = alloc_zeroed(n, sizeof *slots);

	require(missing && slots, "no memory for an event");
	cache_event_begin(c, layer, members, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t key = layer * experts + members[i].expert;
		uint32_t slot = cache_find(c, key);

		if (slot == SLOT_NONE) {
			missing[i - hits] = key;
			continue;
		}
		cache_pin(c, slot);
		slots[hits++] = slot;
	}
	for (uint32_t i = 0; i < hits; i++)
		cache_unpin(c, slots[i]);
	for (uint32_t i = 0; i < n - hits; i++)
		load(c, missing[i]);
	cache_event_end(c, layer, members, n);
	alloc_free(slots);
	alloc_free(missing);
	return hits;
}

uint64_t replay_trace(const trace *t, const ufm_policy *policy, uint32_t slots, uint32_t ring,
                      uint32_t *hits_at)
{
	cache_config config = {
		.slots = slots, .ring = ring, .layers = t->layers, .experts = t->experts, .policy = policy};
	cache *c;
	uint64_t hits = 0;

	require(cache_open(&config, &c) == UFM_OK, ufm_last_error());
	for (uint32_t e = 0; e < t->event_count; e++) {
		const trace_event *event = &t->events[e];
		uint32_t n = replay_event(c, event->layer, t->experts, &t->members[event->first], event->n);

		hits += n;
		if (hits_at)
			hits_at[e] = n;
	}
	cache_close(c);
	return hits;
}

/* ------------------------------------------------------------------ witness */

static struct {
	const ufm_policy *inner;
	ufm_policy table;
	void *state;
	uint8_t *inserted;
	uint32_t keys, places, count;
} witness;

static ufm_status witness_create(const ufm_policy_config *config, void **state)
{
	ufm_status status = witness.inner->create(config, &witness.state);

	if (status)
		return status;
	witness.keys = config->layers * config->experts;
	witness.places = config->places;
	witness.count = 0;
	witness.inserted = alloc_zeroed(witness.keys, 1);
	require(witness.inserted != NULL, "no memory for the witness");
	*state = &witness;
	return UFM_OK;
}

static void witness_destroy(void *state)
{
	(void)state;
	alloc_free(witness.inserted);
	witness.inserted = NULL;
	witness.inner->destroy(witness.state);
}

static void witness_event(void *state, uint32_t layer)
{
	(void)state;
	witness.inner->event(witness.state, layer);
}

static void witness_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	(void)state;
	require(key < witness.keys && use->tokens >= 1, "a use is malformed");
	witness.inner->use(witness.state, key, use);
}

static void witness_insert(void *state, uint32_t key)
{
	(void)state;
	require(key < witness.keys && !witness.inserted[key], "a key was inserted twice");
	require(witness.count < witness.places, "more keys were inserted than there are places");
	witness.inserted[key] = 1;
	witness.count++;
	witness.inner->insert(witness.state, key);
}

static void witness_remove(void *state, uint32_t key)
{
	(void)state;
	require(key < witness.keys && witness.inserted[key], "a key was removed that is not inserted");
	witness.inserted[key] = 0;
	witness.count--;
	witness.inner->remove(witness.state, key);
}

static uint32_t witness_victim(void *state, uint32_t newcomer, const uint8_t *locked,
                               bool lingering)
{
	uint32_t victim, unlocked = 0;

	(void)state;
	if (newcomer == UFM_KEY_NONE) {
		require(!lingering, "nobody lingers");
	} else {
		require(newcomer < witness.keys && !witness.inserted[newcomer], "the newcomer is inserted");
		require(witness.count == witness.places, "a victim is asked for while a place is empty");
	}
	victim = witness.inner->victim(witness.state, newcomer, locked, lingering);
	for (uint32_t key = 0; key < witness.keys; key++)
		unlocked += witness.inserted[key] && !locked[key];
	if (victim != UFM_KEY_NONE)
		require(victim < witness.keys && witness.inserted[victim] && !locked[victim],
		        "the victim is locked or not inserted");
	else
		require(unlocked == 0 || lingering ||
		            (newcomer != UFM_KEY_NONE && witness.inner->flags != 0),
		        "a policy that must admit declined");
	return victim;
}

const ufm_policy *policy_witness(const ufm_policy *inner)
{
	witness.inner = inner;
	witness.table = (ufm_policy){
		.abi_version = UFM_POLICY_ABI,
		.struct_size = sizeof(ufm_policy),
		.name = inner->name,
		.flags = inner->flags,
		.source = inner->source,
		.create = witness_create,
		.destroy = witness_destroy,
		.event = witness_event,
		.use = witness_use,
		.insert = witness_insert,
		.remove = witness_remove,
		.victim = witness_victim,
	};
	return &witness.table;
}

void policy_witness_places(uint32_t places)
{
	witness.places = places;
}

bool policy_witness_has(uint32_t key)
{
	return witness.inserted[key] != 0;
}

uint32_t policy_witness_count(void)
{
	return witness.count;
}
