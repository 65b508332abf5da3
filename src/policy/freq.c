/* SPDX-License-Identifier: MIT */
/* Who was demanded least often lately leaves, unless the newcomer is worth no more. */
#include "base/alloc.h"
#include "policy/key_tree.h"
#include "policy/registry.h"
#include "policy/shares.h"

/* On recorded routing of a 32-expert model the hit rate is flat from 0.94 to 0.97. */
#define DECAY 0.96f
/* A newcomer must be worth more by this part: shares that differ by rounding, or by what happened
 * long ago, are equal. So none of a sweep displaces another, and no scan can flush the cache. */
#define TOLERANCE 1e-5f

typedef struct freq {
	shares shares;
	key_tree scores;   /* of the inserted keys */
	uint8_t *inserted; /* [keys] */
} freq;

static void freq_destroy(void *state)
{
	freq *f = state;

	if (!f)
		return;
	shares_free(&f->shares);
	key_tree_free(&f->scores);
	alloc_free(f->inserted);
	alloc_free(f);
}

static ufm_status freq_create(const ufm_policy_config *config, void **state)
{
	freq *f = alloc_zeroed(1, sizeof *f);

	if (!f)
		return UFM_ENOMEM;
	f->inserted = alloc_zeroed((size_t)config->layers * config->experts, 1);
	if (!f->inserted || shares_init(&f->shares, config->layers, config->experts, DECAY) != UFM_OK ||
	    key_tree_init(&f->scores, config->layers, config->experts) != UFM_OK) {
		freq_destroy(f);
		return UFM_ENOMEM;
	}
	*state = f;
	return UFM_OK;
}

static void freq_event(void *state, uint32_t layer)
{
	freq *f = state;
	uint32_t first = layer * f->shares.experts;
	float *leaves = key_tree_leaves(&f->scores, layer);

	if (!shares_event(&f->shares, layer))
		return;
	for (uint32_t i = 0; i < f->shares.experts; i++) {
		if (f->inserted[first + i])
			leaves[i] = f->shares.score[first + i];
	}
	key_tree_rebuild(&f->scores, layer);
}

static void freq_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	freq *f = state;

	(void)use;
	shares_use(&f->shares, key);
	if (f->inserted[key])
		key_tree_set(&f->scores, key, f->shares.score[key]);
}

static void freq_insert(void *state, uint32_t key)
{
	freq *f = state;

	f->inserted[key] = 1;
	key_tree_set(&f->scores, key, f->shares.score[key]);
}

static void freq_remove(void *state, uint32_t key)
{
	freq *f = state;

	f->inserted[key] = 0;
	key_tree_set(&f->scores, key, KEY_TREE_ABSENT);
}

const float *policy_freq_worths(void *state, uint32_t layer)
{
	const freq *f = state;

	return f->shares.score + (size_t)layer * f->shares.experts;
}

/* Without an event all scores of a layer are 0, and 1 is as good a divisor as any. */
static float total_of(const freq *f, uint32_t layer)
{
	return f->shares.total[layer] > 0.0f ? f->shares.total[layer] : 1.0f;
}

static uint32_t freq_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	const freq *f = state;
	float smallest = INFINITY;
	uint32_t victim = UFM_KEY_NONE;

	(void)lingering;
	if (newcomer != UFM_KEY_NONE)
		smallest = shares_of(&f->shares, newcomer) * (1.0f - TOLERANCE);
	for (uint32_t layer = 0; layer < f->shares.layers; layer++) {
		float total = total_of(f, layer), below = smallest * total;
		uint32_t least;

		if (f->scores.top[layer] >= below)
			continue;
		least = key_tree_least(&f->scores, layer, locked, &below);
		if (least == UFM_KEY_NONE)
			continue;
		victim = least;
		smallest = below / total;
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
