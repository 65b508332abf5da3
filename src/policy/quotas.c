/* SPDX-License-Identifier: MIT */
/* Exchanges of slots between layers. */
#include "policy/quotas.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* Events of each layer between two exchanges. */
#define PERIOD 64u
/* What is left of a use after that time. */
#define KEPT 0.97f
/* The same for what quotas won and lost, so that a loss shows soon. */
#define SETTLED_KEPT 0.75f
/* The longest rest after a failure, in such times. */
#define CAUTION_MAX 64u
/* A gain is clear when it is above the loss by this part, and by so many standard deviations of the two
 * counts; a failure, by the deviations. */
#define MARGIN 0.1f
#define DEVIATIONS 1.0f

ufm_status quotas_init(quotas *q, uint32_t layers, uint32_t experts)
{
	size_t keys = (size_t)layers * experts;

	*q = (quotas){.layers = layers, .experts = experts};
	if (reuse_distance_init(&q->distance, layers, experts) != UFM_OK)
		return UFM_ENOMEM;
	q->quota = alloc_zeroed(layers, sizeof *q->quota);
	q->hits = alloc_zeroed(keys, sizeof *q->hits);
	q->slope = alloc_zeroed(keys, sizeof *q->slope);
	q->corner = alloc_zeroed((size_t)experts + 1, sizeof *q->corner);
	q->curve = alloc_zeroed((size_t)experts + 1, sizeof *q->curve);
	if (q->quota && q->hits && q->slope && q->corner && q->curve)
		return UFM_OK;
	quotas_free(q);
	return UFM_ENOMEM;
}

void quotas_free(quotas *q)
{
	reuse_distance_free(&q->distance);
	alloc_free(q->quota);
	alloc_free(q->hits);
	alloc_free(q->slope);
	alloc_free(q->corner);
	alloc_free(q->curve);
	*q = (quotas){0};
}

/* ------------------------------------------------------------------ the equal split */

uint32_t quotas_equal(const quotas *q, uint32_t layer)
{
	return q->slots / q->layers + (layer < q->slots % q->layers);
}

uint32_t quotas_floor(const quotas *q, uint32_t layer)
{
	return (quotas_equal(q, layer) + 3) / 4;
}

static void deal_equally(quotas *q)
{
	for (uint32_t layer = 0; layer < q->layers; layer++)
		q->quota[layer] = quotas_equal(q, layer);
	q->won = q->lost = 0.0f;
}

void quotas_resize(quotas *q, uint32_t slots)
{
	uint32_t most = q->layers * q->experts;

	slots = slots < most ? slots : most;
	if (slots == q->slots)
		return;
	q->slots = slots;
	deal_equally(q);
}

/* ------------------------------------------------------------------ what was learnt */

static float sum(const float *uses, uint32_t from, uint32_t to)
{
	float total = 0.0f;

	for (uint32_t depth = from; depth < to; depth++)
		total += uses[depth];
	return total;
}

/* Adds up what the quotas hit since the last time that the equal split would not have hit, and the other
 * way round. Whether they hit more. */
static bool settle(quotas *q)
{
	float won = 0.0f, lost = 0.0f;

	for (uint32_t layer = 0; layer < q->layers; layer++) {
		const float *found = q->distance.found + (size_t)layer * q->experts;
		uint32_t quota = q->quota[layer], equal = quotas_equal(q, layer);

		won += sum(found, equal, quota);
		lost += sum(found, quota, equal);
	}
	q->won = q->won * SETTLED_KEPT + won;
	q->lost = q->lost * SETTLED_KEPT + lost;
	return won > lost;
}

static void learn(quotas *q, float kept)
{
	size_t keys = (size_t)q->layers * q->experts;

	for (size_t i = 0; i < keys; i++)
		q->hits[i] = q->hits[i] * kept + q->distance.found[i];
	memset(q->distance.found, 0, keys * sizeof *q->distance.found);
}

/* Whether the corner in the middle lies on or below the line between the others. */
static bool below(const float *curve, uint32_t from, uint32_t middle, uint32_t to)
{
	return (curve[middle] - curve[from]) * (float)(to - from) <=
	       (curve[to] - curve[from]) * (float)(middle - from);
}

/* slope[] of a layer: of the least concave curve that is nowhere below its hits. */
static void climb(quotas *q, uint32_t layer)
{
	const float *hits = q->hits + (size_t)layer * q->experts;
	float *slope = q->slope + (size_t)layer * q->experts;
	uint32_t corners = 1;

	q->corner[0] = 0;
	for (uint32_t slots = 1; slots <= q->experts; slots++) {
		q->curve[slots] = q->curve[slots - 1] + hits[slots - 1];
		while (corners > 1 &&
		       below(q->curve, q->corner[corners - 2], q->corner[corners - 1], slots))
			corners--;
		q->corner[corners++] = slots;
	}
	for (uint32_t i = 1; i < corners; i++) {
		uint32_t from = q->corner[i - 1], to = q->corner[i];
		float each = (q->curve[to] - q->curve[from]) / (float)(to - from);

		for (uint32_t slots = from; slots < to; slots++)
			slope[slots] = each;
	}
}

/* ------------------------------------------------------------------ exchanges */

/* What one slot more gains a layer; a layer that has all it can use gains nothing. */
static float gain_of(const quotas *q, uint32_t layer)
{
	uint32_t quota = q->quota[layer];

	return quota < q->experts ? q->slope[(size_t)layer * q->experts + quota] : 0.0f;
}

static float loss_of(const quotas *q, uint32_t layer)
{
	uint32_t quota = q->quota[layer];

	return quota > quotas_floor(q, layer) ? q->slope[(size_t)layer * q->experts + quota - 1]
	                                      : INFINITY;
}

/* One slot, if that gains clearly. */
static bool exchange(quotas *q)
{
	uint32_t taker = 0, giver = 0;
	float gain, loss;

	for (uint32_t layer = 1; layer < q->layers; layer++) {
		if (gain_of(q, layer) > gain_of(q, taker))
			taker = layer;
		if (loss_of(q, layer) < loss_of(q, giver))
			giver = layer;
	}
	gain = gain_of(q, taker);
	loss = loss_of(q, giver);
	if (!(gain > loss * (1.0f + MARGIN) + DEVIATIONS * sqrtf(gain + loss)))
		return false;
	q->quota[taker]++;
	q->quota[giver]--;
	return true;
}

/* What was learnt misled: needs have changed. Where they change as fast as they are learnt, one failure
 * follows the other, so the equal split stays longer after each. */
static void fail(quotas *q)
{
	deal_equally(q);
	q->rest = q->caution;
	q->caution = 2 * q->caution + 1 < CAUTION_MAX ? 2 * q->caution + 1 : CAUTION_MAX;
}

static void deal(quotas *q)
{
	bool ahead = settle(q), misled = q->won + DEVIATIONS * sqrtf(q->won + q->lost) < q->lost;
	uint32_t exchanges = 0;

	learn(q, misled ? 0.0f : KEPT);
	if (misled)
		fail(q);
	else if (ahead && q->caution)
		q->caution--;
	if (q->rest) {
		q->rest--;
		return;
	}
	for (uint32_t layer = 0; layer < q->layers; layer++)
		climb(q, layer);
	while (exchanges < q->layers && exchange(q))
		exchanges++;
}

/* ------------------------------------------------------------------ events */

void quotas_use(quotas *q, uint32_t expert)
{
	reuse_distance_use(&q->distance, expert);
}

void quotas_end(quotas *q, uint32_t layer, const float *worth)
{
	if (worth)
		reuse_distance_end_by_worth(&q->distance, layer, worth);
	else
		reuse_distance_end(&q->distance, layer);
	if (++q->events < PERIOD * q->layers)
		return;
	q->events = 0;
	deal(q);
}
