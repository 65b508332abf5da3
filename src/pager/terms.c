/* SPDX-License-Identifier: MIT */
/* What admission goes by: what an expert costs over the link and by the CPU, and a layer call that misses nothing. */
#include "pager/pager_int.h"

/* A tenth of the calls: below, every miss goes over the link, and there is no reason to be choosy. */
#define TAKEN_MIN 0.1f
#define CALLS_A_LOOK 256u
#define TERM_CHANGE 0.25

static bool differs(uint64_t a, uint64_t b)
{
	double less = (double)(a < b ? a : b), more = (double)(a < b ? b : a);
	return more - less > TERM_CHANGE * more;
}

/* Of a copy, where no call has missed nothing yet: of large experts about as much was found. */
#define CALL_OF_COPY 0.3

static admit_terms terms_now(const ufm_engine *e)
{
	const pager_cpu *cpu = &e->cpu;
	uint64_t copy_ns = e->loads.copy_ns;
	if (cpu->taken < TAKEN_MIN)
		return (admit_terms){0};
	return (admit_terms){.copy_ns = copy_ns,
	                     .cpu_ns = cost_of(&cpu->cost, 1),
	                     .call_ns = cpu->call_ns ? cpu->call_ns
	                                             : (uint64_t)(CALL_OF_COPY * (double)copy_ns)};
}

/* Seldom, so that a replay needs to be told of few terms; but soon for the first time, as what is admitted until then
 * may take the link long. */
void terms_look(ufm_engine *e)
{
	pager_cpu *cpu = &e->cpu;
	admit_terms *now = &e->demand.admit.terms, next;
	if (cpu->pinned || ++cpu->calls < (now->copy_ns ? CALLS_A_LOOK : PAGER_CALLS_UNTIMED))
		return;
	cpu->calls = 0;
	next = terms_now(e);
	if (!differs(now->copy_ns, next.copy_ns) && !differs(now->cpu_ns, next.cpu_ns) &&
	    !differs(now->call_ns, next.call_ns))
		return;
	*now = next;
	cpu->term_changes++;
}

void pager_get_admission(ufm_engine *e, admit *now, uint64_t *changes)
{
	lock_take(&e->lock);
	*now = e->demand.admit;
	*changes = e->cpu.term_changes;
	lock_drop(&e->lock);
}

void pager_pin_admission(ufm_engine *e, const admit_terms *terms)
{
	lock_take(&e->lock);
	admit_open(&e->demand.admit, terms);
	e->cpu.pinned = true;
	lock_drop(&e->lock);
}
