/* SPDX-License-Identifier: MIT */
/* What a layer call misses, and what of it the CPU computes. */
#include <math.h>

#include "base/rng.h"
#include "pager/pager.h"
#include "plan/walk_int.h"
#include "schedule/share.h"

#define STRAY_KEY 1u

/* ------------------------------------------------------------------ what is missing */

bool walk_is_late(const walk *w, const schedule_demand *d)
{
	return w->owed.waits[w->first + d->expert];
}

/* Stays in order, after equal ones that are there. */
static void add_missing(walk *w, const schedule_demand *d)
{
	uint32_t at = w->missing_count++;
	for (; at > 0 && w->missing[at - 1].tokens < d->tokens; at--)
		w->missing[at] = w->missing[at - 1];
	w->missing[at] = *d;
}

/* One whose copy is owed is as missing as a miss, and comes before those of as many tokens, because it stays. The
 * demands begin with those that have a slot. */
static void find_missing(walk *w, const schedule_demand *misses, uint32_t n)
{
	w->missing_count = 0;
	for (const schedule_demand *d = w->scratch.demands; d < misses; d++)
		if (walk_is_late(w, d))
			add_missing(w, d);
	for (uint32_t i = 0; i < n; i++)
		add_missing(w, &misses[i]);
}

/* ------------------------------------------------------------------ the CPU's share */

/* The lightest that the engine would think of. */
static uint32_t candidates(walk *w, uint32_t fills)
{
	const timing_terms *t = w->config.timing;
	uint32_t n = w->missing_count;
	share_terms terms = {.copy_ns = (uint64_t)timing_copy_learned_ns(t, 1),
	                     .rows_max = PAGER_CPU_BUFFER_BYTES / (4ull * w->config.d_model)};
	for (uint32_t i = 0; i < n; i++) {
		double cost_ns = timing_cpu_ns(t, w->missing[n - 1 - i].tokens);
		w->costs[i] = cost_ns < 1 ? 1 : (uint64_t)cost_ns;
	}
	uint32_t can = share_candidates(&terms, w->missing, n, w->costs);
	return can < n - fills ? can : n - fills;
}

/* What the CPU takes for the last `taken`. It has the host's memory to itself where it takes all, once what was on
 * its way before has come. */
static void account_cpu(walk *w, double link_busy_ns)
{
	const timing_terms *t = w->config.timing;
	double bound_ns = 0, beside_ns = 0, alone_ns = 0;
	for (uint32_t i = w->missing_count - w->taken; i < w->missing_count; i++) {
		double each_ns = timing_cpu_ns(t, w->missing[i].tokens);
		bound_ns += each_ns * timing_cpu_duty(t, w->missing[i].tokens);
		beside_ns += each_ns;
		alone_ns += timing_cpu_alone_ns(t, w->missing[i].tokens);
	}
	double beside = w->taken < w->missing_count ? 1 : fmin(1, link_busy_ns / fmax(1, beside_ns));
	w->cpu_ns = beside * beside_ns + (1 - beside) * alone_ns;
	w->cpu_duty = w->cpu_ns > 0 ? fmin(1, bound_ns / w->cpu_ns) : 0;
}

/* What the engine has learned that all would cost it lies between alone and beside the link, and strays. */
static double all_learned_ns(walk *w)
{
	const timing_terms *t = w->config.timing;
	double stray = t->costs->cpu_stray * (2 * (double)rng_at(STRAY_KEY, w->event++) - 1);
	double both_ns = 0;
	for (uint32_t i = 0; i < w->missing_count; i++)
		both_ns +=
			timing_cpu_ns(t, w->missing[i].tokens) + timing_cpu_alone_ns(t, w->missing[i].tokens);
	return (1 + stray) * both_ns / 2;
}

/* The engine splits what is left whenever something has ended, so that both sides end together whatever it has
 * learned. The link begins at once, and is left out only where the CPU should have done all before one copy ends. */
static uint32_t split(walk *w, double link_busy_ns, uint32_t fills)
{
	const timing_terms *t = w->config.timing;
	uint32_t n = w->missing_count, can = candidates(w, fills);
	double copy_ns =
		timing_copy_learned_ns(t, can ? timing_cpu_duty(t, w->missing[n - 1].tokens) : 0);
	share_rates rates = {.link_ns = (uint64_t)copy_ns + 1,
	                     .link_busy_ns = (uint64_t)link_busy_ns,
	                     .link_only = n - can};
	uint32_t taken = share_split(&rates, w->costs, can);
	if (can == n && all_learned_ns(w) <= link_busy_ns + copy_ns)
		return n;
	return n && taken == n ? n - 1 : taken;
}

uint32_t walk_share(void *ctx, const schedule_demand *misses, uint32_t n, uint32_t fills)
{
	walk *w = ctx;
	uint32_t without_slot = 0;
	find_missing(w, misses, n);
	w->taken = 0;
	w->cpu_ns = w->cpu_duty = 0;
	if (!w->cpu_on)
		return 0;
	double link_busy_ns = timing_link_busy_ns(w->config.timing, &w->clock);
	w->taken = split(w, link_busy_ns, fills);
	account_cpu(w, link_busy_ns);
	for (uint32_t i = w->missing_count - w->taken; i < w->missing_count; i++)
		without_slot += !walk_is_late(w, &w->missing[i]);
	return without_slot;
}
