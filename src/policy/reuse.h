/* SPDX-License-Identifier: MIT */
/*
 * The probability that a layer's next event demands an expert, learnt from what happened: of all experts
 * that looked alike, how many were demanded?
 *
 * What an expert looks like is its share (shares.h) and its age, the number of its layer's events
 * since it was used. The share alone would be the probability if experts were drawn independently. Routing
 * is not: what was chosen for one token is more likely for the next, and how much more depends on the
 * model. So experts are divided into cells by age and share, and each cell keeps how many uses the
 * shares promised and how many came. The quotient corrects the share.
 *
 * In a sweep every share is 1 and every promise holds, so all probabilities are 1 exactly. With uniform
 * routing the quotients lower the lucky and raise the unlucky. All layers learn together, so a few
 * rounds suffice.
 */
#ifndef UFM_POLICY_REUSE_H
#define UFM_POLICY_REUSE_H

#include <stdint.h>
#include <ufm/policy.h>

#include "policy/shares.h"

#define REUSE_AGES 12
#define REUSE_SHARES 16
#define REUSE_CELLS (REUSE_AGES * REUSE_SHARES)

typedef struct reuse {
	shares shares;
	uint32_t *clock;    /* [layers]; events so far, modulo 2^32 */
	uint32_t *used_at;  /* [keys]; the layer's clock at the last use */
	float *share;       /* [keys]; at the last update; 0: never used */
	uint8_t *cell;      /* [keys]; at the last update */
	float *probability; /* [keys] */
	/* [cells]; uses that the shares promised, that came, and came over promised */
	float promised[REUSE_CELLS], came[REUSE_CELLS], quotient[REUSE_CELLS];
	uint32_t updates; /* since cells last forgot */
} reuse;

ufm_status reuse_init(reuse *c, uint32_t layers, uint32_t experts);
void reuse_free(reuse *c); /* zeroed probabilities are allowed */

void reuse_event(reuse *c, uint32_t layer);
void reuse_use(reuse *c, uint32_t key); /* after the event, once */
/* Brings probability[] of the layer up to date, once all uses of its last event are known: O(experts). */
void reuse_update(reuse *c, uint32_t layer);

#endif
