/* SPDX-License-Identifier: MIT */
/* Which of a layer's misses the CPU computes, so that link and CPU end together. */
#include "schedule/schedule.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* With one more for the CPU the link ends earlier and the CPU later, so the later of the two falls and
 * then rises: the first rise ends the search. */
uint32_t schedule_split(const schedule_rates *r, const uint64_t *cpu_ns, uint32_t n)
{
	uint64_t link_ns = r->link_busy_ns + (uint64_t)(r->link_only + n) * r->link_ns;
	uint64_t cpu_end_ns = r->cpu_busy_ns, best_ns = later(link_ns, cpu_end_ns);
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
