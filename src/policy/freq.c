/* SPDX-License-Identifier: MIT */
/* How often an expert was demanded lately: the default. */
#include <math.h>

#include "base/alloc.h"
#include "policy/key_set.h"
#include "policy/registry.h"

/*
 * Every key, resident or not, has a count of its uses in which a use weighs DECAY^a when its layer
 * has had `a` events since. Divided by the weight of all of the layer's events this is a share: of
 * the layer's recent events, how many demanded the key. 1 means every one.
 *
 * A share is what can be compared across layers that take one cache in turn. It ages with its own
 * layer's events only, so that the layer whose turn it is gains nothing over those that wait; and
 * it does not grow while counts fill up, so that it means the same on the first round and on the
 * thousandth. Thus experts of a sweep, within a layer or over all layers, all have share 1 exactly,
 * none displaces another, and what is resident stays: no scan can flush the cache.
 */
/* On recorded routing of a 32-expert model the hit rate is flat from 0.94 to 0.97. */
#define DECAY 0.96
/* Beyond this age (0.96^1024 is 7e-19) a use weighs nothing. */
#define AGES 1024
/* A newcomer must be worth more by this part: shares that differ by rounding, or by what happened
 * long ago, are equal. */
#define TOLERANCE 1e-6

typedef struct freq {
	uint32_t experts;
	key_set inserted;
	double *count;     /* [keys], as of `counted` */
	uint32_t *counted; /* [keys]; the layer's clock at the key's last use */
	uint32_t *clock;   /* [layers]; events so far, modulo 2^32 */
	double *total;     /* [layers]; weight of all of its events */
	double weight[AGES];
} freq;

static void freq_destroy(void *state)
{
	freq *f = state;

	if (!f)
		return;
	key_set_free(&f->inserted);
	alloc_free(f->count);
	alloc_free(f->counted);
	alloc_free(f->clock);
	alloc_free(f->total);
	alloc_free(f);
}

static void fill_weights(double weight[AGES])
{
	weight[0] = 1.0;
	for (int age = 1; age < AGES; age++)
		weight[age] = weight[age - 1] * DECAY;
}

static ufm_status freq_create(const ufm_policy_config *config, void **state)
{
	uint32_t keys = config->layers * config->experts;
	freq *f = alloc_zeroed(1, sizeof *f);

	if (!f)
		return UFM_ENOMEM;
	f->experts = config->experts;
	if (key_set_init(&f->inserted, config->places, keys) != UFM_OK)
		goto fail;
	f->count = alloc_zeroed(keys, sizeof *f->count);
	f->counted = alloc_zeroed(keys, sizeof *f->counted);
	f->clock = alloc_zeroed(config->layers, sizeof *f->clock);
	f->total = alloc_zeroed(config->layers, sizeof *f->total);
	if (!f->count || !f->counted || !f->clock || !f->total)
		goto fail;
	fill_weights(f->weight);
	*state = f;
	return UFM_OK;
fail:
	freq_destroy(f);
	return UFM_ENOMEM;
}

/* The count as of now. The clock of a layer may wrap round: only differences are used. */
static double aged_count(const freq *f, uint32_t key, uint32_t clock)
{
	uint32_t age = clock - f->counted[key];

	return age < AGES ? f->count[key] * f->weight[age] : 0.0;
}

static double share(const freq *f, uint32_t key)
{
	uint32_t layer = key / f->experts;
	double count = aged_count(f, key, f->clock[layer]);

	/* A hint may have brought an expert of a layer that had no event yet. */
	return count > 0.0 ? count / f->total[layer] : 0.0;
}

static void freq_event(void *state, uint32_t layer)
{
	freq *f = state;

	f->clock[layer]++;
	f->total[layer] = f->total[layer] * DECAY + 1.0;
}

static void freq_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	freq *f = state;
	uint32_t clock = f->clock[key / f->experts];

	(void)use;
	f->count[key] = aged_count(f, key, clock) + 1.0;
	f->counted[key] = clock;
}

static void freq_insert(void *state, uint32_t key)
{
	freq *f = state;

	key_set_add(&f->inserted, key);
}

static void freq_remove(void *state, uint32_t key)
{
	freq *f = state;

	key_set_drop(&f->inserted, key);
}

static uint32_t freq_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	const freq *f = state;
	double smallest = newcomer == UFM_KEY_NONE ? INFINITY : share(f, newcomer) * (1.0 - TOLERANCE);
	uint32_t victim = UFM_KEY_NONE;

	(void)lingering;
	for (uint32_t i = 0; i < f->inserted.count; i++) {
		uint32_t key = f->inserted.members[i];
		double value;

		if (locked[key])
			continue;
		value = share(f, key);
		if (value < smallest) {
			smallest = value;
			victim = key;
		}
	}
	return victim;
}

const ufm_policy policy_freq = {
	UFM_POLICY_HEADER("freq"),
	.flags = UFM_POLICY_MAY_BYPASS,
	.source = "LRFU's decayed counts (Lee et al., 2001), kept for all keys as in LRU-K (O'Neil et "
			  "al., 1993), as shares by layer",
	.create = freq_create,
	.destroy = freq_destroy,
	.event = freq_event,
	.use = freq_use,
	.insert = freq_insert,
	.remove = freq_remove,
	.victim = freq_victim,
};
