/* SPDX-License-Identifier: MIT */
/* The smallest prospect of a hit for the time that a place is held leaves: the default. */
#include "base/alloc.h"
#include "policy/coactivation.h"
#include "policy/key_tree.h"
#include "policy/registry.h"
#include "policy/reuse.h"

/*
 * What an expert is worth: the probability that its layer's next event demands it, divided by how long that
 * event is away. The probability is what its own uses promise (reuse.h), corrected by what its layer has
 * just used (coactivation.h). An expert of a layer that comes soon holds its place for a short time,
 * and can be given up when the probability has passed; one of the layer that has just been computed holds
 * it for a whole round. So among equals the farthest leaves, newcomers displace their own layer's
 * first, and where probabilities differ a place goes where it yields the most hits in time. Nobody
 * displaces anybody in a sweep, because the newcomer's own next use is the farthest of all: no scan
 * can flush the cache, and what the cache is too small for passes by.
 *
 * When a layer comes is known from when it came: its period is the time between its last two events,
 * and time is counted in events.
 */

/* A newcomer must be worth more by this part: worths that differ by rounding are equal. */
#define TOLERANCE 1e-5f

typedef struct visits {
	uint64_t last;   /* the layer's last event, from 1; 0: none yet */
	uint64_t period; /* between its last two */
} visits;

typedef struct cycle {
	reuse reuse;
	coactivation coactivation;
	float *prospect;   /* [keys]; the steady probability that makes a next use as near as it is */
	key_tree tree;     /* prospects of the inserted keys */
	uint8_t *inserted; /* [keys] */
	visits *visits;    /* [layers] */
	float *wait;       /* [layers]; events until the next one */
	uint64_t now;      /* events so far */
	uint32_t pending;  /* layer whose probabilities are to be updated; UFM_KEY_NONE: none */
	float bar;         /* of a newcomer's worth that its victim must stay below */
} cycle;

static void cycle_destroy(void *state)
{
	cycle *c = state;

	if (!c)
		return;
	reuse_free(&c->reuse);
	coactivation_free(&c->coactivation);
	alloc_free(c->prospect);
	key_tree_free(&c->tree);
	alloc_free(c->inserted);
	alloc_free(c->visits);
	alloc_free(c->wait);
	alloc_free(c);
}

static ufm_status take_memory(cycle *c, uint32_t layers, uint32_t experts)
{
	ufm_status status = reuse_init(&c->reuse, layers, experts);

	if (status == UFM_OK)
		status = coactivation_init(&c->coactivation, layers, experts);
	if (status == UFM_OK)
		status = key_tree_init(&c->tree, layers, experts);
	if (status != UFM_OK)
		return status;
	c->prospect = alloc_zeroed((size_t)layers * experts, sizeof *c->prospect);
	c->inserted = alloc_zeroed((size_t)layers * experts, sizeof *c->inserted);
	c->visits = alloc_zeroed(layers, sizeof *c->visits);
	c->wait = alloc_zeroed(layers, sizeof *c->wait);
	return c->prospect && c->inserted && c->visits && c->wait ? UFM_OK : UFM_ENOMEM;
}

/* Events until the layer's next one. A layer that is overdue broke its rhythm: it is expected to stay
 * away as long as it has been away, so that one that never comes back gives up its places. */
static float wait_of(const cycle *c, const visits *v)
{
	uint64_t away = c->now - v->last;

	return (float)(away < v->period ? v->period - away : away + 1);
}

static ufm_status cycle_create(const ufm_policy_config *config, void **state)
{
	cycle *c = alloc_zeroed(1, sizeof *c);

	if (!c)
		return UFM_ENOMEM;
	if (take_memory(c, config->layers, config->experts) != UFM_OK) {
		cycle_destroy(c);
		return UFM_ENOMEM;
	}
	for (uint32_t layer = 0; layer < config->layers; layer++) {
		c->visits[layer].period = config->layers;
		c->wait[layer] = wait_of(c, &c->visits[layer]);
	}
	c->pending = UFM_KEY_NONE;
	c->bar = 1;
	*state = c;
	return UFM_OK;
}

/* The uses of an event are complete when somebody asks for a victim, or the next event begins. */
static void update(cycle *c)
{
	uint32_t layer = c->pending, experts = c->tree.experts, first;
	float *leaves;

	if (layer == UFM_KEY_NONE)
		return;
	c->pending = UFM_KEY_NONE;
	first = layer * experts;
	reuse_update(&c->reuse, layer);
	coactivation_update(&c->coactivation, layer, c->reuse.probability + first, c->prospect + first);
	leaves = key_tree_leaves(&c->tree, layer);
	for (uint32_t i = 0; i < experts; i++) {
		uint32_t key = first + i;

		leaves[i] = c->inserted[key] ? c->prospect[key] : KEY_TREE_ABSENT;
	}
	key_tree_rebuild(&c->tree, layer);
}

static void cycle_event(void *state, uint32_t layer)
{
	cycle *c = state;
	visits *v = &c->visits[layer];

	update(c);
	c->now++;
	if (v->last)
		v->period = c->now - v->last;
	v->last = c->now;
	for (uint32_t i = 0; i < c->tree.layers; i++)
		c->wait[i] = wait_of(c, &c->visits[i]);
	reuse_event(&c->reuse, layer);
	c->pending = layer;
}

static void cycle_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	cycle *c = state;

	(void)use;
	reuse_use(&c->reuse, key);
	coactivation_use(&c->coactivation, key % c->tree.experts);
}

static void cycle_insert(void *state, uint32_t key)
{
	cycle *c = state;

	c->inserted[key] = 1;
	key_tree_set(&c->tree, key, c->prospect[key]);
}

static void cycle_remove(void *state, uint32_t key)
{
	cycle *c = state;

	c->inserted[key] = 0;
	key_tree_set(&c->tree, key, KEY_TREE_ABSENT);
}

const float *policy_cycle_worths(void *state, uint32_t layer)
{
	cycle *c = state;

	update(c);
	return c->prospect + (size_t)layer * c->tree.experts;
}

static float worth_of(const cycle *c, uint32_t key)
{
	return c->prospect[key] / c->wait[key / c->tree.experts];
}

static uint32_t cycle_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	cycle *c = state;
	uint32_t victim = UFM_KEY_NONE;
	float worth = INFINITY;

	update(c);
	if (newcomer != UFM_KEY_NONE)
		worth = worth_of(c, newcomer) * (1.0f - TOLERANCE) * (lingering ? 1 : c->bar);
	for (uint32_t layer = 0; layer < c->tree.layers; layer++) {
		float below = worth * c->wait[layer];
		uint32_t least;

		if (c->tree.top[layer] >= below)
			continue;
		least = key_tree_least(&c->tree, layer, locked, &below);
		if (least == UFM_KEY_NONE)
			continue;
		victim = least;
		worth = below / c->wait[layer];
	}
	return victim;
}

static void cycle_set_bar(void *state, float bar)
{
	cycle *c = state;

	c->bar = bar;
}

const ufm_policy policy_cycle = {
	UFM_POLICY_HEADER("cycle"),
	.flags = UFM_POLICY_MAY_BYPASS,
	.source =
		"Belady's next use (1966) where a layer's turn is known and its experts only by "
		"probability; "
		"the probability from decayed counts (LRFU, Lee et al., 2001) corrected by age as in hit "
		"density (LHD, Beckmann et al., 2018) and by co-activation (TD(0), Sutton, 1988)",
	.create = cycle_create,
	.destroy = cycle_destroy,
	.event = cycle_event,
	.use = cycle_use,
	.insert = cycle_insert,
	.remove = cycle_remove,
	.victim = cycle_victim,
	.set_bar = cycle_set_bar,
};
