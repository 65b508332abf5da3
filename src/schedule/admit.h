/* SPDX-License-Identifier: MIT */
/*
 * How choosy admission must be while the CPU computes misses. Without the CPU every miss goes over the link,
 * and keeping it costs nothing. With it the link brings a part of a layer's misses while the CPU computes the
 * others; what the CPU computed can be copied later, for the sake of its next use alone, when the link has nothing
 * else to do. Such a copy is not free: so the policy alone decides about as many as the link brings anyway, and a
 * newcomer after these must be worth much more than what it displaces. When more is owed than the link has time for,
 * none of them is kept. A copy can't be overtaken by a demand, so that time is only where none is likely to come
 * meanwhile.
 *
 * The measure is what the link owes, on a clock of model times that are fixed when they are learned. It
 * depends on the demand alone, in call order, never on measured time, so that a replay with the same times admits
 * the same experts. Pure.
 */
#ifndef UFM_SCHEDULE_ADMIT_H
#define UFM_SCHEDULE_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

/* A copy made later costs its token most of what a miss costs, because ids and launches are on their way meanwhile: so the
 * victim must be worth a tenth of the newcomer at most. docs/policies.md, A bar for newcomers. */
#define ADMIT_BAR 0.1f

/* Of one expert over the link and by the CPU while both work; of a layer call that misses nothing. */
typedef struct admit_terms {
	uint64_t copy_ns, cpu_ns, call_ns; /* copy_ns 0: whatever the policy keeps is admitted */
} admit_terms;

typedef struct admit {
	admit_terms terms;
	double owed_ns; /* copies that the link has not done yet */
	double demand;  /* lately, the part of calls whose misses the link has a share of */
} admit;

/* The placements of one layer call, which are made in the order of schedule_layer. */
typedef struct admit_turn {
	uint32_t brought; /* the first so many come over the link now */
	uint32_t placed;  /* so far */
	uint32_t later;   /* kept, of those after `brought` */
	float
		bar; /* for those, 0 … 1: a victim is worth less than this part of the newcomer; 0: none is kept */
} admit_turn;

void admit_open(admit *a, const admit_terms *terms);
/* A turn in which whatever the policy keeps is admitted, and nothing is owed. */
admit_turn admit_freely(void);
bool admit_is_free(const admit_turn *turn); /* it is such a turn */
/* A layer call begins that misses so many experts. The link brings `fills` of them whatever it costs. */
admit_turn admit_call(admit *a, uint32_t misses, uint32_t fills);
/* The bar for the next placement. */
float admit_bar(const admit_turn *turn);
void admit_placed(admit_turn *turn, bool kept);
/* The call ends. */
void admit_end(admit *a, const admit_turn *turn);

#endif
