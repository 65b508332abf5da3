/* SPDX-License-Identifier: MIT */
/* Which of a layer's misses the CPU computes, so that link and CPU end together. */
#include "schedule/share.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint32_t share_candidates(const share_terms *t, const schedule_demand *misses, uint32_t n,
                          const uint64_t *cpu_ns)
{
	uint64_t rows = 0, sum_ns = 0;

	for (uint32_t taken = 0; taken < n; taken++) {
		rows += misses[n - 1 - taken].tokens;
		sum_ns += cpu_ns[taken];
		if (rows > t->rows_max || cpu_ns[taken] > SHARE_COPIES_WORTH * t->copy_ns)
			return taken;
		if (taken && sum_ns / 2 > n * t->copy_ns)
			return taken;
	}
	return n;
}

/* With one more for the CPU the link ends earlier and the CPU later, so the later of the two falls and
 * then rises: the first rise ends the search. */
uint32_t share_split(const share_rates *r, const uint64_t *cpu_ns, uint32_t n)
{
	uint64_t link_ns = r->link_busy_ns + (uint64_t)(r->link_only + n) * r->link_ns;
	uint64_t cpu_end_ns = r->cpu_busy_ns + r->cpu_start_ns;
	uint64_t best_ns = later(link_ns, r->cpu_busy_ns);
	uint32_t best = 0;

	for (uint32_t taken = 1; taken <= n && cpu_end_ns < link_ns; taken++) {
		link_ns -= r->link_ns;
		cpu_end_ns += cpu_ns[taken - 1];
		uint64_t end_ns = later(link_ns, cpu_end_ns);
		if (end_ns < best_ns) {
			best_ns = end_ns;
			best = taken;
		}
	}
	return best;
}
