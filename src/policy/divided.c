/* SPDX-License-Identifier: MIT */
/* One cache divided among the layers, each with a policy of its own. */
#include "policy/divided.h"

#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "policy/quotas.h"
#include "policy/registry.h"

/* [experts], of a layer. */
typedef const float *worths_of(void *state, uint32_t layer);

typedef struct divided {
	const ufm_policy *inner;
	worths_of *worths; /* NULL: the inner policy has none */
	float *worth;      /* [experts]; of the pending event's layer when it began */
	void **instance;   /* [layers] */
	uint32_t *held;    /* [layers]; inserted keys */
	uint32_t held_in_all;
	uint32_t layers, experts;
	quotas quotas;
	uint32_t pending; /* layer whose event's uses are being told; UFM_KEY_NONE: none */
} divided;

/* ------------------------------------------------------------------ create and destroy */

static void divided_destroy(void *state)
{
	divided *d = state;

	if (!d)
		return;
	for (uint32_t layer = 0; d->instance && layer < d->layers; layer++)
		d->inner->destroy(d->instance[layer]);
	alloc_free(d->instance);
	alloc_free(d->held);
	alloc_free(d->worth);
	quotas_free(&d->quotas);
	alloc_free(d);
}

static ufm_status take_memory(divided *d, const ufm_policy_config *config)
{
	bool costs = config->struct_size > offsetof(ufm_policy_config, cost) && config->cost;
	ufm_status status = quotas_init(&d->quotas, d->layers, d->experts);
	ufm_policy_config one;

	d->held = alloc_zeroed(d->layers, sizeof *d->held);
	d->instance = alloc_zeroed(d->layers, sizeof *d->instance);
	d->worth = alloc_zeroed(d->experts, sizeof *d->worth);
	if (status || !d->held || !d->instance || !d->worth)
		return UFM_ENOMEM;
	UFM_STRUCT_INIT(&one);
	one.layers = 1;
	one.experts = d->experts;
	one.places = config->places < config->experts ? config->places : config->experts;
	for (uint32_t layer = 0; layer < d->layers && !status; layer++) {
		one.seed = config->seed + layer;
		one.cost = costs ? config->cost + (size_t)layer * d->experts : NULL;
		status = d->inner->create(&one, &d->instance[layer]);
	}
	return status;
}

static ufm_status create(const ufm_policy *inner, worths_of *worths,
                         const ufm_policy_config *config, void **state)
{
	divided *d = alloc_zeroed(1, sizeof *d);
	ufm_status status;

	if (!d)
		return UFM_ENOMEM;
	d->inner = inner;
	d->worths = worths;
	d->layers = config->layers;
	d->experts = config->experts;
	d->pending = UFM_KEY_NONE;
	status = take_memory(d, config);
	if (status) {
		divided_destroy(d);
		return status;
	}
	*state = d;
	return UFM_OK;
}

/* ------------------------------------------------------------------ events */

/* The uses of an event are complete when somebody asks for a victim, or the next event begins. */
static void update(divided *d)
{
	if (d->pending != UFM_KEY_NONE)
		quotas_end(&d->quotas, d->pending, d->worths ? d->worth : NULL);
	d->pending = UFM_KEY_NONE;
}

static void divided_event(void *state, uint32_t layer)
{
	divided *d = state;

	update(d);
	d->pending = layer;
	if (d->worths)
		memcpy(d->worth, d->worths(d->instance[layer], 0), d->experts * sizeof *d->worth);
	d->inner->event(d->instance[layer], 0);
}

static void divided_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	divided *d = state;
	uint32_t expert = key % d->experts;

	quotas_use(&d->quotas, expert);
	d->inner->use(d->instance[key / d->experts], expert, use);
}

static void divided_insert(void *state, uint32_t key)
{
	divided *d = state;
	uint32_t layer = key / d->experts;

	d->held[layer]++;
	d->held_in_all++;
	d->inner->insert(d->instance[layer], key % d->experts);
}

static void divided_remove(void *state, uint32_t key)
{
	divided *d = state;
	uint32_t layer = key / d->experts;

	d->held[layer]--;
	d->held_in_all--;
	d->inner->remove(d->instance[layer], key % d->experts);
}

/* ------------------------------------------------------------------ victims */

static uint32_t victim_of(const divided *d, uint32_t layer, uint32_t newcomer,
                          const uint8_t *locked, bool lingering)
{
	uint32_t first = layer * d->experts;
	uint32_t expert = newcomer == UFM_KEY_NONE ? UFM_KEY_NONE : newcomer - first;
	uint32_t victim = d->inner->victim(d->instance[layer], expert, locked + first, lingering);

	return victim == UFM_KEY_NONE ? UFM_KEY_NONE : first + victim;
}

/* How far a layer is above its quota. */
static int64_t excess_of(const divided *d, uint32_t layer)
{
	return (int64_t)d->held[layer] - d->quotas.quota[layer];
}

/* The layer that comes after one in the order from most above the quota to most below; after
 * UFM_KEY_NONE the first. UFM_KEY_NONE: none. */
static uint32_t next_by_excess(const divided *d, uint32_t after)
{
	uint32_t next = UFM_KEY_NONE;

	for (uint32_t layer = 0; layer < d->layers; layer++) {
		int64_t excess = excess_of(d, layer);

		if (after != UFM_KEY_NONE &&
		    (excess > excess_of(d, after) || (excess == excess_of(d, after) && layer <= after)))
			continue;
		if (next == UFM_KEY_NONE || excess > excess_of(d, next))
			next = layer;
	}
	return next;
}

/* One of the layer most above its quota that has one to give; of one that is above it at all, if
 * above. Nobody is asked who is not needed: a policy may remember that it was. */
static uint32_t take(const divided *d, const uint8_t *locked, bool above)
{
	uint32_t layer = next_by_excess(d, UFM_KEY_NONE), victim = UFM_KEY_NONE;

	while (layer != UFM_KEY_NONE && victim == UFM_KEY_NONE && (!above || excess_of(d, layer) > 0)) {
		if (d->held[layer])
			victim = victim_of(d, layer, UFM_KEY_NONE, locked, false);
		layer = next_by_excess(d, layer);
	}
	return victim;
}

static uint32_t divided_victim(void *state, uint32_t newcomer, const uint8_t *locked,
                               bool lingering)
{
	divided *d = state;
	uint32_t layer;

	update(d);
	if (newcomer == UFM_KEY_NONE)
		return take(d, locked, false);
	/* It is asked for when no place is empty, so that those which are taken are all there are. */
	quotas_resize(&d->quotas, d->held_in_all);
	layer = newcomer / d->experts;
	if (excess_of(d, layer) < 0)
		return take(d, locked, true);
	return victim_of(d, layer, newcomer, locked, lingering);
}

/* ------------------------------------------------------------------ tables */

#define DIVIDED(name_, worths_) \
	static ufm_status create_##name_(const ufm_policy_config *config, void **state) \
	{ \
		return create(&policy_##name_, worths_, config, state); \
	} \
	static const ufm_policy divided_##name_ = { \
		UFM_POLICY_HEADER("divided-" #name_), \
		.flags = UFM_POLICY_MAY_BYPASS, \
		.source = "quotas by marginal hits (Mattson et al., 1970; Cliffhanger, Cidon et al., " \
				  "2016) over " #name_, \
		.create = create_##name_, \
		.destroy = divided_destroy, \
		.event = divided_event, \
		.use = divided_use, \
		.insert = divided_insert, \
		.remove = divided_remove, \
		.victim = divided_victim, \
	};

/* A table has no context, so each inner policy has one. A newcomer may pass by whatever the inner policy:
 * when an event has more members than its layer's quota. */
POLICIES(DIVIDED, DIVIDED)

const ufm_policy *policy_divided(const ufm_policy *inner)
{
#define DIVIDED_PAIR(name, worths) {&policy_##name, &divided_##name},
	static const struct {
		const ufm_policy *inner, *table;
	} tables[] = {POLICIES(DIVIDED_PAIR, DIVIDED_PAIR)};

	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		if (tables[i].inner == inner)
			return tables[i].table;
	}
	return NULL;
}
