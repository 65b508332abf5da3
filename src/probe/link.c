/* SPDX-License-Identifier: MIT */
/* Copies follow each other on one stream, timed by the device; the CPU works for as long as they do. */
#include "probe/link.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "budget/workspace.h"

#define GIVE_UP_NS 250000000u /* a part is made no longer than that for the CPU's sake */
#define COPIES_MIN 2u

static ufm_status copy_next(void *ctx, uint32_t index)
{
	const probe_link *l = ctx;
	ufm_devptr to[BUDGET_TOGETHER], from[BUDGET_TOGETHER];
	(void)index;
	for (uint32_t i = 0; i < l->together; i++) {
		probe_copy each = l->next(l->ctx);
		to[i] = each.to;
		from[i] = (ufm_devptr)(uintptr_t)each.from;
	}
	const ufm_copies_args args = {.kind = UFM_COPY_H2D,
	                              .count = l->together,
	                              .dst = to,
	                              .src = from,
	                              .size_bytes = l->expert_bytes};
	return l->timed.b->copies(l->timed.stream, &args);
}

static double copy_bytes(const probe_link *l)
{
	return (double)l->together * (double)l->expert_bytes;
}

ufm_status probe_link_alone(probe_link *l, uint64_t budget_ns, double *gbps)
{
	double each_ns;
	ufm_status status = timed_each(&l->timed, copy_next, l, budget_ns, &each_ns);
	if (!status)
		*gbps = copy_bytes(l) / each_ns;
	return status;
}

static bool until_copied(void *ctx)
{
	const timed *t = ctx;
	int done = 0;
	return t->b->event_query(t->end, &done) == UFM_OK && !done;
}

static ufm_status both_once(probe_link *l, const probe_cpu *cpu, uint32_t copies,
                            uint64_t *elapsed_ns, probe_both *out)
{
	timed t = l->timed;
	ufm_status status = timed_enqueue(&t, copy_next, l, copies);
	out->cpu_gbps = status ? 0 : cpu->work(cpu->ctx, until_copied, &t);
	status = timed_finish(&t, status, elapsed_ns);
	out->link_gbps = copy_bytes(l) * copies / (double)*elapsed_ns;
	return status;
}

static uint32_t copies_for(const probe_link *l, double ns, double gbps)
{
	double fit = ns * gbps / copy_bytes(l);
	return fit >= TIMED_UNITS_MAX - COPIES_MIN ? TIMED_UNITS_MAX : (uint32_t)fit + COPIES_MIN;
}

/* Longer and longer until the CPU has done enough for a rate. */
static ufm_status both_part(probe_link *l, const probe_cpu *cpu, uint32_t *copies, probe_both *out)
{
	uint64_t elapsed_ns = 0;
	for (;;) {
		ufm_status status = both_once(l, cpu, *copies, &elapsed_ns, out);
		if (status || out->cpu_gbps > 0 || elapsed_ns >= GIVE_UP_NS || *copies >= TIMED_UNITS_MAX)
			return status;
		*copies = *copies * 2 < TIMED_UNITS_MAX ? *copies * 2 : TIMED_UNITS_MAX;
	}
}

static int by_sum(const void *a, const void *b)
{
	const probe_both *x = a, *y = b;
	double first = x->link_gbps + x->cpu_gbps, second = y->link_gbps + y->cpu_gbps;
	return (first > second) - (first < second);
}

ufm_status probe_link_beside(probe_link *l, const probe_cpu *cpu, uint64_t budget_ns,
                             uint32_t parts, double alone_gbps, probe_both *out)
{
	probe_both rates[PROBE_PARTS_MAX];
	ufm_status status = UFM_OK;
	assert(parts >= 1 && parts <= PROBE_PARTS_MAX);
	uint32_t copies = copies_for(l, (double)budget_ns / parts, alone_gbps);
	uint32_t done = 0;
	do /* a part that was given up says what all would say */
		status = both_part(l, cpu, &copies, &rates[done]);
	while (!status && rates[done++].cpu_gbps > 0 && done < parts);
	if (status)
		return status;
	qsort(rates, done, sizeof *rates, by_sum);
	*out = rates[done / 2];
	return UFM_OK;
}
