/* SPDX-License-Identifier: MIT */
/* A bar for what can wait, and a limit for how much may. */
#include "schedule/admit.h"

#include <math.h>

/* Copies that may be owed: beyond, none is admitted later, not even to a free place: it would wait there for long. */
#define OWED_COPIES_MAX 16.0
/* Of the newest call in `demand`. */
#define WEIGHT (1.0 / 64)

void admit_open(admit *a, const admit_terms *terms)
{
	*a = (admit){.terms = *terms};
}

/* What the link brings so that it ends together with the CPU: a single miss is quicker on the CPU, of two
 * each takes one. */
static double link_share(const admit_terms *t, uint32_t misses)
{
	double copy = (double)t->copy_ns, cpu = (double)t->cpu_ns;

	return floor(misses * cpu / (copy + cpu) + 0.5);
}

/* The first miss takes as long as the CPU needs for one. */
static double call_ns(const admit_terms *t, uint32_t misses)
{
	double copy = (double)t->copy_ns, cpu = (double)t->cpu_ns;

	if (misses == 0)
		return (double)t->call_ns;
	return (double)t->call_ns + fmax(fmin(cpu, copy), misses * copy * cpu / (copy + cpu));
}

/* The part of the link's idle time in which a copy is not likely to be in the way of a demand. */
static double quiet(const admit *a)
{
	double calls = (double)a->terms.copy_ns / (double)(a->terms.call_ns ? a->terms.call_ns : 1);

	return pow(1 - a->demand, calls);
}

/* For copies that can wait: what is left beside those that this call brings. */
static double spared_ns(admit *a, uint32_t misses, double share)
{
	double idle_ns = fmax(0, call_ns(&a->terms, misses) - share * (double)a->terms.copy_ns);

	a->demand += WEIGHT * ((share > 0 ? 1 : 0) - a->demand);
	return quiet(a) * idle_ns;
}

admit_turn admit_freely(void)
{
	return (admit_turn){.brought = UINT32_MAX, .bar = 1};
}

bool admit_is_free(const admit_turn *turn)
{
	return turn->brought == UINT32_MAX;
}

admit_turn admit_call(admit *a, uint32_t misses, uint32_t fills)
{
	if (a->terms.copy_ns == 0)
		return admit_freely();
	double share = fmax(fills, link_share(&a->terms, misses));
	a->owed_ns = fmax(0, a->owed_ns - spared_ns(a, misses, share));
	bool closed = a->owed_ns > OWED_COPIES_MAX * (double)a->terms.copy_ns;
	return (admit_turn){.brought = (uint32_t)share, .bar = closed ? 0 : ADMIT_BAR};
}

float admit_bar(const admit_turn *turn)
{
	return turn->placed < turn->brought ? 1 : turn->bar;
}

void admit_placed(admit_turn *turn, bool kept)
{
	turn->later += turn->placed >= turn->brought && kept;
	turn->placed++;
}

void admit_end(admit *a, const admit_turn *turn)
{
	a->owed_ns += (double)turn->later * (double)a->terms.copy_ns;
}
