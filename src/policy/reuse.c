/* SPDX-License-Identifier: MIT */
/* Reuse probabilities of use, learnt in cells of like experts. */
#include "policy/reuse.h"

#include <string.h>

#include "base/alloc.h"

/* Slower than what is best for shares alone: the age knows what is recent. On recorded routing of a
 * 32-expert model the hit rate is flat from 0.96 to 0.985. */
#define DECAY 0.975f
/* Uses that the shares are believed for before the first is counted. */
#define PRIOR 8.0f
/* Promises after which a cell forgets half, so that it follows what changes. */
#define PROMISED_MAX 1024.0f
/* Events between two looks at whether one has to. */
#define UPDATES_MAX 32

ufm_status reuse_init(reuse *c, uint32_t layers, uint32_t experts)
{
	size_t keys = (size_t)layers * experts;

	*c = (reuse){0};
	if (shares_init(&c->shares, layers, experts, DECAY) != UFM_OK)
		return UFM_ENOMEM;
	c->clock = alloc_zeroed(layers, sizeof *c->clock);
	c->used_at = alloc_zeroed(keys, sizeof *c->used_at);
	c->share = alloc_zeroed(keys, sizeof *c->share);
	c->cell = alloc_zeroed(keys, sizeof *c->cell);
	c->probability = alloc_zeroed(keys, sizeof *c->probability);
	if (c->clock && c->used_at && c->share && c->cell && c->probability)
		return UFM_OK;
	reuse_free(c);
	return UFM_ENOMEM;
}

void reuse_free(reuse *c)
{
	shares_free(&c->shares);
	alloc_free(c->clock);
	alloc_free(c->used_at);
	alloc_free(c->share);
	alloc_free(c->cell);
	alloc_free(c->probability);
	*c = (reuse){0};
}

/* ------------------------------------------------------------------ cells */

/* Ages that behave alike, finer where they are small. */
static uint32_t age_class(uint32_t age)
{
	static const uint8_t classes[20] = {0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7};

	if (age < 20)
		return classes[age];
	return age < 40 ? 8 : age < 100 ? 9 : age < 300 ? 10 : 11;
}

/* Two classes for each halving from 1 down: an exponent and the first bit after the point. */
static uint32_t share_class(float share)
{
	const uint32_t one = 0x3f800000, shift = 22;
	uint32_t bits, below;

	memcpy(&bits, &share, sizeof bits);
	below = bits < one ? (one - bits) >> shift : 0;
	return below < REUSE_SHARES ? below : REUSE_SHARES - 1;
}

static uint32_t cell_of(uint32_t age, float share)
{
	return age_class(age) * REUSE_SHARES + share_class(share);
}

/* Promises and uses of an event are both complete here, so they stay equal where they are equal. */
static void forget(reuse *c)
{
	if (++c->updates < UPDATES_MAX)
		return;
	c->updates = 0;
	for (uint32_t i = 0; i < REUSE_CELLS; i++) {
		if (c->promised[i] > PROMISED_MAX) {
			c->promised[i] /= 2;
			c->came[i] /= 2;
		}
	}
}

/* ------------------------------------------------------------------ events */

static void count_promises(reuse *c, uint32_t layer)
{
	uint32_t first = layer * c->shares.experts;

	for (uint32_t key = first; key < first + c->shares.experts; key++)
		c->promised[c->cell[key]] += c->share[key];
}

void reuse_event(reuse *c, uint32_t layer)
{
	count_promises(c, layer);
	shares_event(&c->shares, layer);
	c->clock[layer]++;
}

void reuse_use(reuse *c, uint32_t key)
{
	/* A first use was promised by nobody. */
	if (c->share[key] > 0.0f)
		c->came[c->cell[key]] += 1.0f;
	shares_use(&c->shares, key);
	c->used_at[key] = c->clock[key / c->shares.experts];
}

void reuse_update(reuse *c, uint32_t layer)
{
	uint32_t first = layer * c->shares.experts, clock = c->clock[layer];
	float per_score = 1.0f / c->shares.total[layer];

	forget(c);
	for (uint32_t i = 0; i < REUSE_CELLS; i++)
		c->quotient[i] = (c->came[i] + PRIOR) / (c->promised[i] + PRIOR);
	for (uint32_t key = first; key < first + c->shares.experts; key++) {
		float share = c->shares.score[key] * per_score;
		uint32_t cell = cell_of(clock - c->used_at[key], share);

		c->share[key] = share;
		c->cell[key] = (uint8_t)cell;
		c->probability[key] = share * c->quotient[cell];
	}
}
