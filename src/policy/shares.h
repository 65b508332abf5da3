/* SPDX-License-Identifier: MIT */
/*
 * How often an expert was demanded lately: its share of its layer's recent events. Every key,
 * resident or not, has a score, the sum over its uses of decay^a, where `a` is how many events its
 * layer has had since. Divided by the same sum over all of the layer's events this is a share: 1
 * means that every event demanded it.
 *
 * A share ages with its own layer's events only, so the layer whose turn it is gains nothing over
 * those that wait; and it does not grow while counts fill up, so it means the same on the first
 * round and on the thousandth. Experts of a sweep all have share 1 exactly.
 */
#ifndef UFM_POLICY_SHARES_H
#define UFM_POLICY_SHARES_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/policy.h>

typedef struct shares {
	uint32_t layers, experts;
	float growth; /* 1 / decay */
	float *score; /* [keys]; within a layer they can be compared with each other */
	float *gain;  /* [layers]; what a use adds: it grows, so that old scores need not shrink */
	float *total; /* [layers]; the score of a key that every event demanded; 0: no event yet */
} shares;

ufm_status shares_init(shares *s, uint32_t layers, uint32_t experts, float decay);
void shares_free(shares *s); /* zeroed shares are allowed */

/* True: all scores of the layer were divided by one number, for want of range. */
bool shares_event(shares *s, uint32_t layer);
void shares_use(shares *s, uint32_t key); /* after the event, once */

static inline float shares_of(const shares *s, uint32_t key)
{
	float total = s->total[key / s->experts];

	/* A hint may have brought an expert of a layer that had no event yet. */
	return total > 0.0f ? s->score[key] / total : 0.0f;
}

#endif
