/* SPDX-License-Identifier: MIT */
/*
 * The discounted time to an expert's next use, given which experts its layer has just used: 1 if the next event
 * demands it, and a fixed part of that for each event of waiting.
 *
 * An expert's reuse probability (reuse.h) follows from when and how often it was used itself. But experts are
 * co-activated: which ones a token chose says which ones the next tokens will. So each expert of a layer has a
 * weight to every other, by which its use raises or lowers the other's discounted reuse. Weights are learnt from
 * what came: a prediction should have been 1 if the next event demanded the expert, else the fixed part of what
 * is predicted now. So nothing has to be kept until an expert comes (TD(0); Sutton, 1988), and an error is
 * corrected in small steps where it was made (least mean squares; Widrow and Hoff, 1960).
 *
 * Predict the discounted time to next use, not the probability of use in the next step: an eviction lasts
 * several steps.
 *
 * In a sweep every probability is 1, no prediction errs, and all weights stay 0 exactly.
 */
#ifndef UFM_POLICY_COACTIVATION_H
#define UFM_POLICY_COACTIVATION_H

#include <stdint.h>
#include <ufm/policy.h>

/* Weights in all at most (64 MiB). Where there would be more, only the current event's members speak, or none,
 * and then the reuse probability alone decides. */
#define COACTIVATION_MAX (1u << 24)
/* Events whose members speak: the current one and the one before. */
#define COACTIVATION_BACK 2u

typedef struct coactivation {
	uint32_t layers, experts;
	uint32_t stride; /* of a row: experts, rounded up to what is computed at once */
	uint32_t back;   /* events whose members speak; 0: too many weights */
	float *weight;   /* [back][keys][stride]; from a key, used so many events ago, to its layer's */
	float *discounted; /* [layers][stride]; as told after the layer's last event */
	float *base;       /* [layers][stride]; what the probability alone says of it */
	float *slope;      /* [layers]; how much of the base is believed */
	uint32_t *last;    /* [back][keys]; members of each layer's last events, in rank order */
	uint32_t *lasts;   /* [back][layers]; how many */
	uint32_t *now;     /* [experts]; members of the current event */
	uint32_t nows;     /* how many */
	/* [stride] each, of the event that ends: 1 for a member, else 0; the base; what is told; the error of
	 * what was told before */
	float *used, *fresh, *sums, *error;
} coactivation;

ufm_status coactivation_init(coactivation *l, uint32_t layers, uint32_t experts);
void coactivation_free(coactivation *l); /* a zeroed one is allowed */

void coactivation_use(coactivation *l,
                      uint32_t expert); /* each member of an event once, in rank order */
/* Ends the event of a layer: learns from it and tells discounted[] anew. probability: [experts], each one's by
 * now. prospect: [experts], gets the probability that would, if it stayed the same, make the next use as near.
 * O(members * experts). */
void coactivation_update(coactivation *l, uint32_t layer, const float *probability,
                         float *prospect);

/* The discounted reuse of an expert that every event demands with this probability, and back. 1 is 1 exactly. */
float discounted_of_probability(float probability);
float probability_of_discounted(float discounted);

/* [experts], of a layer. */
static inline const float *coactivation_discounted(const coactivation *l, uint32_t layer)
{
	return l->discounted + (size_t)layer * l->stride;
}

#endif
