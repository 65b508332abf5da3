/* SPDX-License-Identifier: MIT */
/*
 * What any number of slots would have hit, for each layer of its own, without trying: experts of a layer
 * lie in a stack, the latest used on top, and a use found at depth d (from 0) is a hit of a least recently
 * used cache of more than d slots (Mattson et al., 1970). An event's members are all looked for before
 * any of them comes on top, as a cache counts them; and of the last event's members each counts as at every one
 * of their depths in part, since a cache too small for an event keeps some of them, not the latest.
 */
#ifndef UFM_POLICY_REUSE_DISTANCE_H
#define UFM_POLICY_REUSE_DISTANCE_H

#include <stdint.h>
#include <ufm/policy.h>

typedef struct reuse_distance {
	uint32_t layers, experts;
	uint32_t *order;   /* [layers][experts]; the latest used first */
	uint32_t *height;  /* [layers]; experts used so far */
	uint32_t *last;    /* [layers]; members of the last event: those on top */
	float *found;      /* [layers][experts]; uses by depth, since the caller last cleared them */
	uint32_t *members; /* [experts]; of the event in progress, in rank order */
	uint32_t count;    /* how many */
	uint8_t *member;   /* [experts]; whether one of them */
	uint32_t *rest;    /* [experts]; scratch */
} reuse_distance;

ufm_status reuse_distance_init(reuse_distance *s, uint32_t layers, uint32_t experts);
void reuse_distance_free(reuse_distance *s); /* a zeroed one is allowed */

void reuse_distance_use(reuse_distance *s,
                        uint32_t expert); /* each member of an event once, in rank order */
void reuse_distance_end(reuse_distance *s, uint32_t layer); /* of the event: O(experts) */
/* The same for a policy that keeps those of the largest worth: a use is found as deep as experts were worth
 * more when the event began. worth: [experts]. O(members * experts). */
void reuse_distance_end_by_worth(reuse_distance *s, uint32_t layer, const float *worth);

#endif
