/* SPDX-License-Identifier: MIT */
/* A bar that follows what the link owes. */
#include "schedule/admit.h"

/* Copies that may be owed: enough for the misses of two layers that come together, and little beside the
 * time of a token, after which many are wanted again. Found flat from 2 to 16 (docs/performance.md). */
#define OWED_COPIES 4.0
/* A call moves the bar by this part for each copy too many or too few; 24 layers make a token. */
#define STEP (1.0 / 256)
#define STEP_COPIES_MAX 4.0
#define BAR_MIN (1.0 / 16)

void admit_open(admit *a, const admit_terms *terms)
{
	*a = (admit){.terms = *terms, .bar = 1};
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

static double most(double a, double b)
{
	return a > b ? a : b;
}

/* Link and CPU share the misses, but the first takes as long as the CPU needs for one. */
static double call_ns(const admit_terms *t, uint32_t misses)
{
	double copy = (double)t->copy_ns, cpu = (double)t->cpu_ns;

	if (misses == 0)
		return (double)t->call_ns;
	return (double)t->call_ns + most(least(cpu, copy), misses * copy * cpu / (copy + cpu));
}

float admit_call(admit *a, uint32_t misses)
{
	if (a->terms.copy_ns == 0)
		return 1;
	a->owed_ns = most(0, a->owed_ns - call_ns(&a->terms, misses));
	double over = least(a->owed_ns / (double)a->terms.copy_ns - OWED_COPIES, STEP_COPIES_MAX);
	a->bar = (float)most(BAR_MIN, least(1, a->bar * (1 - STEP * over)));
	return a->bar;
}

void admit_kept(admit *a, uint32_t kept)
{
	a->owed_ns += (double)kept * (double)a->terms.copy_ns;
}
