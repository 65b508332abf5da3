/* SPDX-License-Identifier: MIT */
/*
 * How near an expert's next use is, given whom its layer has just used: 1 if the next event demands it,
 * and a fixed part of that for each event of waiting.
 *
 * An expert's chance (chances.h) knows when and how often it was used itself. But experts come in
 * company: whom one token chose says whom the next ones will. So each expert of a layer has a link to every
 * other, by which its use raises or lowers the other's nearness. Links are learnt from what came: what
 * was told of an expert should have been 1 if the next event demanded it, else that part of what is told
 * of it now. So nothing has to be kept until an expert comes (TD(0); Sutton, 1988), and an error is
 * corrected in small steps where it was made (least mean squares; Widrow and Hoff, 1960).
 *
 * Nearness rather than the next event's chance, because who is kept is kept for a while: company
 * also tells of the event after the next, and where it forebodes a short absence the place is not to be
 * given away.
 *
 * In a sweep every chance is 1, nobody errs, and all links stay 0 exactly.
 */
#ifndef UFM_POLICY_LINKS_H
#define UFM_POLICY_LINKS_H

#include <stdint.h>
#include <ufm/policy.h>

/* Links in all at most (64 MiB). Where there would be more, only the current event's members speak, or none,
 * and then nearness follows from the chance. */
#define LINKS_MAX (1u << 24)
/* Events whose members speak: the current one and the one before. */
#define LINKS_BACK 2u

typedef struct links {
	uint32_t layers, experts;
	uint32_t stride; /* of a row: experts, rounded up to what is computed at once */
	uint32_t back;   /* events whose members speak; 0: too many links */
	float *weight;   /* [back][keys][stride]; from a key, used so many events ago, to its layer's */
	float *nearness; /* [layers][stride]; as told after the layer's last event */
	float *base;     /* [layers][stride]; what the chance alone says of it */
	float *slope;    /* [layers]; how much of the base is believed */
	uint32_t *last;  /* [back][keys]; members of each layer's last events, in rank order */
	uint32_t *lasts; /* [back][layers]; how many */
	uint32_t *now;   /* [experts]; members of the current event */
	uint32_t nows;   /* how many */
	/* [stride] each, of the event that ends: 1 for a member, else 0; the base; what is told; the error of
	 * what was told before */
	float *used, *fresh, *sums, *error;
} links;

ufm_status links_init(links *l, uint32_t layers, uint32_t experts);
void links_free(links *l); /* zeroed links are allowed */

void links_use(links *l, uint32_t expert); /* each member of an event once, in rank order */
/* Ends the event of a layer: learns from it and tells nearness[] anew. chance: [experts], each one's by
 * now. prospect: [experts], gets the chance that would, if it stayed the same, make the next use as near.
 * O(members * experts). */
void links_update(links *l, uint32_t layer, const float *chance, float *prospect);

/* The nearness of an expert that every event demands with this chance, and back. 1 is 1 exactly. */
float links_of_chance(float chance);
float links_to_chance(float nearness);

/* [experts], of a layer. */
static inline const float *links_nearness(const links *l, uint32_t layer)
{
	return l->nearness + (size_t)layer * l->stride;
}

#endif
