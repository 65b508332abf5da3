/* SPDX-License-Identifier: MIT */
/* Times by number of tokens, as weighted means. */
#include "assist/cost.h"

#define WEIGHT 0.25 /* of the newest */
#define DOUBT 0.98

/* Buckets begin at 1, 2, 3, 4, 6, 8, 12, … tokens. */
static uint32_t bucket_of(uint32_t tokens)
{
	uint32_t octave = 31 - (uint32_t)__builtin_clz(tokens | 1);
	uint32_t upper = octave && (tokens >> (octave - 1)) & 1;
	uint32_t bucket = 2 * octave + upper;
	return bucket < COST_BUCKETS ? bucket : COST_BUCKETS - 1;
}

void cost_learn(assist_cost *c, uint32_t tokens, uint64_t spent_ns)
{
	double *mean = &c->ns[bucket_of(tokens)], ns = (double)spent_ns;
	*mean = *mean > 0 ? *mean + WEIGHT * (ns - *mean) : ns;
}

uint64_t cost_of(const assist_cost *c, uint32_t tokens)
{
	uint32_t wanted = bucket_of(tokens), at = wanted;
	while (at > 0 && c->ns[at] <= 0)
		at--;
	if (c->ns[at] <= 0) {
		for (at = wanted; at + 1 < COST_BUCKETS && c->ns[at] <= 0;)
			at++;
	}
	return c->ns[at] >= 1 ? (uint64_t)c->ns[at] : 1;
}

void cost_doubt(assist_cost *c)
{
	for (uint32_t i = 0; i < COST_BUCKETS; i++)
		c->ns[i] *= DOUBT;
}
