/* SPDX-License-Identifier: MIT */
/* How near to the offline bound each policy comes: policy and cache alone, one JSON line for each
 * workload, budget and policy. event_ns is the processor time of an event with its placements, cache
 * included. Recorded routing is what `ufm replay` is for. */
#include <stdio.h>
#include <time.h>

#include "policy/registry.h"
#include "support/workloads.h"

/* Of this thread, so that what else runs on the machine does not count. */
static uint64_t cpu_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void print_row(const char *name, const trace *t, uint32_t slots, const ufm_policy *policy,
                      uint64_t hits, uint64_t bound, uint64_t elapsed_ns)
{
	printf("{\"workload\": \"%s\", \"layers\": %u, \"experts\": %u, \"slots\": %u, \"ring\": %u, "
	       "\"policy\": \"%s\", \"uses\": %u, \"hits\": %llu, \"bound_hits\": %llu, "
	       "\"hit_rate\": %.4f, \"fraction_of_bound\": %.4f, \"event_ns\": %llu}\n",
	       name, t->layers, t->experts, slots, cache_ring_for(slots, 0), policy->name,
	       t->member_count, (unsigned long long)hits, (unsigned long long)bound,
	       (double)hits / t->member_count, bound ? (double)hits / (double)bound : 1.0,
	       (unsigned long long)(elapsed_ns / t->event_count));
	fflush(stdout);
}

/* The bound is of the same slots, ring included: min-bypass without one. */
static void compare_at(const char *name, const trace *t, uint32_t slots)
{
	uint32_t ring = slots == t->layers * t->experts ? 0 : cache_ring_for(slots, 0);
	uint64_t bound = replay_trace(t, &policy_min_bypass, slots, 0, NULL);

	for (uint32_t p = 0; policy_at(p); p++) {
		const ufm_policy *policy = policy_at(p);
		uint64_t start_ns, hits;

		if (policy->flags & UFM_POLICY_OFFLINE)
			continue;
		start_ns = cpu_time_ns();
		hits = replay_trace(t, policy, slots, ring, NULL);
		print_row(name, t, slots, policy, hits, bound, cpu_time_ns() - start_ns);
	}
}

static void compare(const char *name, const trace *t)
{
	for (uint32_t b = 0; b < WORKLOAD_BUDGETS; b++)
		compare_at(name, t, workload_slots(t->layers * t->experts, workload_percent[b]));
}

int main(void)
{
	for (uint32_t i = 0; workload_at(i); i++) {
		trace t;

		workload_trace(workload_at(i), &t);
		compare(workload_at(i)->name, &t);
		trace_free(&t);
	}
	return 0;
}
