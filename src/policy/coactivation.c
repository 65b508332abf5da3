/* SPDX-License-Identifier: MIT */
/* Discounted reuse, learnt from which experts of a layer are used together. */
#include "policy/coactivation.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* Discounted reuse left by an event of waiting. Hit rates on recorded routing of a 32-expert model are flat from
 * 0.8 to 0.9, … */
#define FADE 0.85f
/* … for the part of an error that weights correct at once from 0.01 to 0.03, … */
#define WEIGHT_RATE 0.02f
/* … and for what the slope corrects from 0.005 to 0.05. */
#define SLOPE_RATE 0.02f
/* However much co-activation speaks against it, an expert keeps this part of its base, so that those
 * of which nothing is expected keep an order. */
#define LEAST 0.1f
/* How much more than the mean the first of an event's members says, and how much less the last. */
#define RAMP 0.5f
/* Floats that are computed at once. */
#define LANES 8u

/* ------------------------------------------------------------------ open and close */

ufm_status coactivation_init(coactivation *l, uint32_t layers, uint32_t experts)
{
	uint32_t stride = (experts + LANES - 1) / LANES * LANES;
	size_t keys = (size_t)layers * experts, padded = (size_t)layers * stride;
	uint32_t back = COACTIVATION_BACK;

	while (back && back * keys * stride > COACTIVATION_MAX)
		back--;
	*l = (coactivation){.layers = layers, .experts = experts, .stride = stride, .back = back};
	if (back) {
		l->weight = alloc_zeroed(back * keys * stride, sizeof *l->weight);
		l->last = alloc_zeroed(back * keys, sizeof *l->last);
		l->lasts = alloc_zeroed((size_t)back * layers, sizeof *l->lasts);
	}
	l->discounted = alloc_zeroed(padded, sizeof *l->discounted);
	l->base = alloc_zeroed(padded, sizeof *l->base);
	l->slope = alloc_zeroed(layers, sizeof *l->slope);
	l->now = alloc_zeroed(experts, sizeof *l->now);
	l->used = alloc_zeroed(stride, sizeof *l->used);
	l->fresh = alloc_zeroed(stride, sizeof *l->fresh);
	l->sums = alloc_zeroed(stride, sizeof *l->sums);
	l->error = alloc_zeroed(stride, sizeof *l->error);
	if ((back && (!l->weight || !l->last || !l->lasts)) || !l->discounted || !l->base ||
	    !l->slope || !l->now || !l->used || !l->fresh || !l->sums || !l->error) {
		coactivation_free(l);
		return UFM_ENOMEM;
	}
	for (uint32_t layer = 0; layer < layers; layer++)
		l->slope[layer] = 1.0f;
	return UFM_OK;
}

void coactivation_free(coactivation *l)
{
	alloc_free(l->weight);
	alloc_free(l->discounted);
	alloc_free(l->base);
	alloc_free(l->slope);
	alloc_free(l->last);
	alloc_free(l->lasts);
	alloc_free(l->now);
	alloc_free(l->used);
	alloc_free(l->fresh);
	alloc_free(l->sums);
	alloc_free(l->error);
	*l = (coactivation){0};
}

/* ------------------------------------------------------------------ events */

float discounted_of_probability(float probability)
{
	return probability / (1.0f - FADE * (1.0f - probability));
}

float probability_of_discounted(float discounted)
{
	return discounted * (1.0f - FADE) / (1.0f - FADE * discounted);
}

void coactivation_use(coactivation *l, uint32_t expert)
{
	l->now[l->nows++] = expert;
	l->used[expert] = 1.0f;
}

/* What the member of a rank says. The squares of all add up to about 1, so that a step corrects the
 * same part of an error whatever the members' number. */
static float voice(uint32_t rank, uint32_t members)
{
	float middle = (float)(members - 1) / 2.0f;
	float slope = members > 1 ? RAMP / middle : 0.0f;

	return (1.0f + slope * (middle - (float)rank)) / sqrtf((float)members);
}

/* to += by * from, of n floats, a multiple of LANES. GCC uses vectors when it sees this multiple, and
 * that the two do not overlap, which it forgets where the function is inlined. */
__attribute__((noinline)) static void add(float *restrict to, const float *restrict from, float by,
                                          uint32_t n)
{
	n &= ~(LANES - 1);
	for (uint32_t i = 0; i < n; i++)
		to[i] += by * from[i];
}

typedef struct group {
	const uint32_t *members;
	uint32_t n;
} group;

/* The members of a layer's event: back 0: the current one. */
static group group_of(const coactivation *l, uint32_t layer, uint32_t back)
{
	size_t first = (size_t)(back - 1) * l->layers + layer;

	if (!back)
		return (group){l->now, l->nows};
	return (group){l->last + first * l->experts, l->lasts[first]};
}

/* The weights from the experts of a layer that were used so many events before what they speak of. */
static float *rows_of(const coactivation *l, uint32_t layer, uint32_t back)
{
	return l->weight + ((size_t)back * l->layers + layer) * l->experts * l->stride;
}

/* sums[] += what the members of an event say of each expert. */
static void listen(coactivation *l, group speakers, const float *rows)
{
	for (uint32_t i = 0; i < speakers.n; i++)
		add(l->sums, rows + (size_t)speakers.members[i] * l->stride, voice(i, speakers.n),
		    l->stride);
}

/* Those who spoke are corrected by error[]. */
static void correct(const coactivation *l, group speakers, float *rows)
{
	for (uint32_t i = 0; i < speakers.n; i++)
		add(rows + (size_t)speakers.members[i] * l->stride, l->error,
		    WEIGHT_RATE * voice(i, speakers.n), l->stride);
}

/* The slope's step, normalised by the bases that made the error. */
static void learn_slope(coactivation *l, uint32_t layer)
{
	const float *base = l->base + (size_t)layer * l->stride;
	float explained = 0.0f, squares = 1e-3f;

	for (uint32_t i = 0; i < l->experts; i++) {
		explained += l->error[i] * base[i];
		squares += base[i] * base[i];
	}
	l->slope[layer] += SLOPE_RATE * explained / squares;
}

/* discounted[] from sums[], and error[] of what was told before. */
static void tell(coactivation *l, float *discounted)
{
	for (uint32_t i = 0; i < l->experts; i++) {
		float least = LEAST * l->fresh[i], was = discounted[i];
		float now = l->sums[i] < least ? least : l->sums[i];

		discounted[i] = now > 1.0f ? 1.0f : now;
		l->error[i] = (l->used[i] > 0.0f ? 1.0f : FADE * discounted[i]) - was;
	}
}

static void remember(coactivation *l, uint32_t layer)
{
	for (uint32_t back = l->back; back > 0; back--) {
		size_t first = (size_t)(back - 1) * l->layers + layer;
		group later = group_of(l, layer, back - 1);

		memcpy(l->last + first * l->experts, later.members, later.n * sizeof *l->last);
		l->lasts[first] = later.n;
	}
	for (uint32_t i = 0; i < l->nows; i++)
		l->used[l->now[i]] = 0.0f;
	l->nows = 0;
}

void coactivation_update(coactivation *l, uint32_t layer, const float *probability, float *prospect)
{
	size_t first = (size_t)layer * l->stride;

	for (uint32_t i = 0; i < l->experts; i++) {
		l->fresh[i] = discounted_of_probability(probability[i]);
		l->sums[i] = l->slope[layer] * l->fresh[i];
	}
	for (uint32_t back = 0; back < l->back; back++)
		listen(l, group_of(l, layer, back), rows_of(l, layer, back));
	tell(l, l->discounted + first);
	learn_slope(l, layer);
	for (uint32_t back = 0; back < l->back; back++)
		correct(l, group_of(l, layer, back + 1), rows_of(l, layer, back));
	memcpy(l->base + first, l->fresh, l->stride * sizeof *l->base);
	remember(l, layer);
	for (uint32_t i = 0; i < l->experts; i++)
		prospect[i] = probability_of_discounted(l->discounted[first + i]);
}
