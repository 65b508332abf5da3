/* SPDX-License-Identifier: MIT */
/*
 * How choosy admission must be while the CPU computes misses. Without the CPU every miss goes over the link,
 * and keeping it costs nothing. With it the link brings a part of a layer's misses while the CPU computes the
 * others; what the CPU computed can be copied later, for the sake of its next use alone, when the link has nothing
 * else to do. So a newcomer must be worth so much more than whom it displaces that no more is admitted than the
 * link brings anyway and has time for. A copy can't be overtaken by a demand, so that time is only where none
 * is likely to come meanwhile.
 *
 * The measure is what the link owes, on a clock of model times that are fixed when they are learned. It
 * depends on the demand alone, in call order, never on measured time, so that a replay with the same times admits
 * the same experts. Pure.
 */
#ifndef UFM_SCHEDULE_ADMIT_H
#define UFM_SCHEDULE_ADMIT_H

#include <stdint.h>

/* Of one expert over the link and by the CPU while both work; of a layer call that misses nothing. */
typedef struct admit_terms {
	uint64_t copy_ns, cpu_ns, call_ns; /* copy_ns 0: whatever the policy keeps is admitted */
} admit_terms;

typedef struct admit {
	admit_terms terms;
	double owed_ns; /* copies that the link has not done yet */
	double demand;  /* lately, the part of calls whose misses the link has a share of */
	float bar;      /* 0 … 1: a victim is worth less than this part of the newcomer */
} admit;

void admit_open(admit *a, const admit_terms *terms);
/* A layer call begins that misses so many experts: gives the bar for them. */
float admit_call(admit *a, uint32_t misses);
/* So many of them were given a slot to stay in. */
void admit_kept(admit *a, uint32_t kept);

#endif
