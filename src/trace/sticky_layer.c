/* SPDX-License-Identifier: MIT */
/* How the experts of one layer are scored, token by token. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/sticky_int.h"

#define FOR_EVER UINT64_MAX

ufm_status sticky_layer_open(sticky_layer *l, const sticky_config *config)
{
	memset(l, 0, sizeof *l);
	l->config = config;
	l->popularity = alloc_zeroed((size_t)config->experts * 4, sizeof *l->popularity);
	l->until = alloc_zeroed(config->experts, sizeof *l->until);
	if (!l->popularity || !l->until)
		return UFM_ENOMEM;
	l->preference = l->popularity + config->experts;
	l->taste = l->preference + config->experts;
	l->score = l->taste + config->experts;
	l->echo = (float)config->echo;
	l->fresh = (float)sqrt(1 - config->echo * config->echo);
	return UFM_OK;
}

void sticky_layer_close(sticky_layer *l)
{
	alloc_free(l->popularity);
	alloc_free(l->until);
}

/* The sum of four uniform numbers, of mean 0 and variance 1: near enough to a Gaussian one, from one
 * draw, for what is drawn for every expert of every token. */
static inline float gauss(rng *r)
{
	const float mean = 4 * 65535 / 2.0f, deviation = 37837.2f;
	uint64_t u = rng_u64(r);
	uint64_t sum = (u & 0xffff) + (u >> 16 & 0xffff) + (u >> 32 & 0xffff) + (u >> 48);
	return ((float)sum - mean) / deviation;
}

void sticky_layer_begin(sticky_layer *l, uint64_t seed, double taste_size)
{
	rng_seed(&l->rng, seed);
	l->taste_size = (float)taste_size;
	for (uint32_t e = 0; e < l->config->experts; e++) {
		l->popularity[e] = (float)l->config->skew * gauss(&l->rng);
		l->taste[e] = gauss(&l->rng);
	}
}

/* P(lifetime > t) = (1 + t)^-drift, by inversion. */
static uint64_t draw_lifetime(sticky_layer *l)
{
	double tokens;
	if (l->config->drift <= 0)
		return FOR_EVER;
	tokens = pow(1 - rng_unit(&l->rng), -1 / l->config->drift);
	return tokens < 0x1p62 ? (uint64_t)tokens : FOR_EVER;
}

static void prefer_anew(sticky_layer *l, uint32_t expert, uint64_t token)
{
	uint64_t lifetime = draw_lifetime(l);
	l->preference[expert] = l->popularity[expert] + gauss(&l->rng);
	l->until[expert] = lifetime > FOR_EVER - token ? FOR_EVER : token + lifetime;
}

void sticky_layer_sequence(sticky_layer *l, uint64_t token)
{
	for (uint32_t e = 0; e < l->config->experts; e++)
		prefer_anew(l, e, token);
}

/* Insertion among the best so far. */
static void choose(const sticky_layer *l, uint16_t *ids)
{
	const float *score = l->score;
	uint32_t count = 0, top_k = l->config->top_k;
	for (uint32_t e = 0; e < l->config->experts; e++) {
		uint32_t at;
		if (count == top_k && score[e] <= score[ids[top_k - 1]])
			continue;
		for (at = count < top_k ? count++ : top_k - 1; at && score[ids[at - 1]] < score[e]; at--)
			ids[at] = ids[at - 1];
		ids[at] = (uint16_t)e;
	}
}

void sticky_layer_step(sticky_layer *l, uint64_t token, uint16_t *ids)
{
	for (uint32_t e = 0; e < l->config->experts; e++) {
		if (l->until[e] <= token)
			prefer_anew(l, e, token);
		l->taste[e] = l->echo * l->taste[e] + l->fresh * gauss(&l->rng);
		l->score[e] = l->preference[e] + l->taste_size * l->taste[e];
	}
	choose(l, ids);
}
