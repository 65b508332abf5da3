/* SPDX-License-Identifier: MIT */
/*
 * Slots dealt to layers by what one more would gain each. What any number of slots would have hit is
 * known for every layer (reuse_distance.h). From time to time slots are exchanged: the layer that would lose least
 * by one gives to the layer that would gain most, while that is clearly more. Gains are slopes of the
 * curves' concave hulls, so that a layer which needs several slots at once is not passed over
 * (Cliffhanger, Cidon et al., 2016, climbs the same hill, from shadow queues).
 *
 * The equal split is where it begins, and where it goes back to: what the quotas win and lose against it
 * is added up on uses that came after they had been dealt, and where they clearly lose, what was learnt is
 * forgotten, for longer after each failure. What they lose until then bounds how far they fall behind.
 */
#ifndef UFM_POLICY_QUOTAS_H
#define UFM_POLICY_QUOTAS_H

#include <stdint.h>
#include <ufm/policy.h>

#include "policy/reuse_distance.h"

typedef struct quotas {
	reuse_distance distance;
	uint32_t layers, experts;
	uint32_t slots;   /* dealt in all; at most layers * experts */
	uint32_t *quota;  /* [layers] */
	float *hits;      /* [layers][experts]; uses by depth, older ones less */
	float *slope;     /* [layers][experts]; what the slot after so many gains, on the hull */
	uint32_t *corner; /* [experts + 1]; of a hull; scratch */
	float *curve;     /* [experts + 1]; hits by slots; scratch */
	float won, lost;  /* uses, against the equal split; older ones less */
	uint32_t events;  /* since slots could last be exchanged */
	uint32_t caution; /* times that none are after the next failure */
	uint32_t rest;    /* times that none are yet */
} quotas;

ufm_status quotas_init(quotas *q, uint32_t layers, uint32_t experts);
void quotas_free(quotas *q); /* zeroed quotas are allowed */

/* The slots to deal; another number than before is dealt equally, then exchanged again. */
void quotas_resize(quotas *q, uint32_t slots);
void quotas_use(quotas *q, uint32_t expert); /* each member of an event once, in rank order */
/* Of the event. worth: what its policy thought of the layer's experts when the event began; NULL: the
 * latest used. */
void quotas_end(quotas *q, uint32_t layer, const float *worth);

/* A layer's part of the equal split. */
uint32_t quotas_equal(const quotas *q, uint32_t layer);
/* No layer has less: a quarter of the equal split, rounded up. */
uint32_t quotas_floor(const quotas *q, uint32_t layer);

#endif
