/* SPDX-License-Identifier: MIT */
/* Counts with ageing. */
#include "policy/aged.h"

#include <string.h>

#include "base/alloc.h"

static ufm_status take_memory(aged *a, uint32_t places, uint32_t keys, const float *weight)
{
	if (key_heap_init(&a->heap, places, keys) != UFM_OK)
		return UFM_ENOMEM;
	a->uses = alloc_zeroed(keys, sizeof *a->uses);
	if (!a->uses)
		return UFM_ENOMEM;
	if (!weight)
		return UFM_OK;
	a->weight = alloc_zeroed(keys, sizeof *a->weight);
	if (!a->weight)
		return UFM_ENOMEM;
	memcpy(a->weight, weight, keys * sizeof *weight);
	return UFM_OK;
}

ufm_status aged_create(const ufm_policy_config *config, const float *weight, void **state)
{
	aged *a = alloc_zeroed(1, sizeof *a);

	if (!a)
		return UFM_ENOMEM;
	if (take_memory(a, config->places, config->layers * config->experts, weight) != UFM_OK) {
		aged_destroy(a);
		return UFM_ENOMEM;
	}
	*state = a;
	return UFM_OK;
}

void aged_destroy(void *state)
{
	aged *a = state;

	if (!a)
		return;
	key_heap_free(&a->heap);
	alloc_free(a->uses);
	alloc_free(a->weight);
	alloc_free(a);
}

void aged_event(void *state, uint32_t layer)
{
	(void)state;
	(void)layer;
}

/* Doubles that are not negative are ordered as their bits are. */
static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static double value_of(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof value);
	return value;
}

static key_rank rank_now(aged *a, uint32_t key)
{
	double weight = a->weight ? (double)a->weight[key] : 1.0;

	return (key_rank){.rank = bits_of(a->age + a->uses[key] * weight), .tie = a->now++};
}

/* The use that brings a key in is over before it is inserted, and counted there. */
void aged_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	aged *a = state;

	(void)use;
	if (!key_heap_has(&a->heap, key))
		return;
	a->uses[key]++;
	key_heap_set(&a->heap, key, rank_now(a, key));
}

void aged_insert(void *state, uint32_t key)
{
	aged *a = state;

	a->uses[key] = 1;
	key_heap_add(&a->heap, key, rank_now(a, key));
}

void aged_remove(void *state, uint32_t key)
{
	aged *a = state;

	key_heap_drop(&a->heap, key);
}

/* A newcomer that lingers in the ring is one like any other: its count was lost with its place. What is
 * locked may have kept a value below the age, which never falls. */
uint32_t aged_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	aged *a = state;
	uint32_t victim = key_heap_least(&a->heap, locked, NULL, 0);

	(void)newcomer;
	(void)lingering;
	if (victim != UFM_KEY_NONE) {
		double value = value_of(key_heap_rank(&a->heap, victim).rank);

		a->age = value > a->age ? value : a->age;
	}
	return victim;
}
