/* SPDX-License-Identifier: MIT */
/* A bar that follows what the link owes. */
#include "schedule/admit.h"

#include <math.h>

/* Copies that may be owed: enough for the misses of two layers that come together, and little beside the
 * time of a token, after which many are wanted again. Found flat from 2 to 16 (docs/performance.md). */
#define OWED_COPIES 8.0
/* Beyond, none is admitted later, not even to a free place: it would wait there for long. */
#define OWED_COPIES_MAX 16.0
/* A call moves the bar by this part for each copy too many or too few; 24 layers make a token. */
#define STEP (1.0 / 256)
#define STEP_COPIES_MAX 4.0
/* From here it takes ten tokens to be open again. */
#define BAR_MIN (1.0 / 1024)
/* Of the newest call in `demand`. */
#define WEIGHT (1.0 / 64)

void admit_open(admit *a, const admit_terms *terms)
{
	*a = (admit){.terms = *terms, .bar = 1};
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

admit_turn admit_call(admit *a, uint32_t misses, uint32_t fills)
{
	if (a->terms.copy_ns == 0)
		return admit_freely();
	double share = fmax(fills, link_share(&a->terms, misses));
	a->owed_ns = fmax(0, a->owed_ns - spared_ns(a, misses, share));
	double over = fmin(a->owed_ns / (double)a->terms.copy_ns - OWED_COPIES, STEP_COPIES_MAX);
	a->bar = (float)fmax(BAR_MIN, fmin(1, a->bar * (1 - STEP * over)));
	bool closed = a->owed_ns > OWED_COPIES_MAX * (double)a->terms.copy_ns;
	return (admit_turn){.brought = (uint32_t)share, .bar = closed ? 0 : a->bar};
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
