/* SPDX-License-Identifier: MIT */
/* How fast a trace is replayed: policy and cache alone, without a ring, in the way `ufm replay` drives
 * them. One JSON line for each shape, capacity and policy; uses_per_s is the median of runs, in the
 * processor time of this thread.
 *
 *   replay_speed [POLICY]
 *
 * Routing is sticky: of a token's experts about 0.45 stay for the next one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/registry.h"
#include "support/workloads.h"

#define RUNS 5
#define MEDIAN 2

static const workload shapes[] = {
	{.layers = 1, .experts = 32, .top_k = 4, .tokens = 1, .steps = 500000},
	{.layers = 1, .experts = 512, .top_k = 10, .tokens = 1, .steps = 200000},
	{.layers = 24, .experts = 32, .top_k = 4, .tokens = 1, .steps = 20000},
	{.layers = 48, .experts = 128, .top_k = 8, .tokens = 1, .steps = 5000},
};

/* Of this thread, so that what else runs on the machine does not count. */
static uint64_t cpu_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t step(cache *c, const trace *t, const trace_event *event)
{
	const cache_member *members = &t->members[event->first];
	uint32_t missing[64], n = 0;

	cache_event_begin(c, event->layer, members, event->n);
	for (uint32_t i = 0; i < event->n; i++) {
		uint32_t key = event->layer * t->experts + members[i].expert;

		missing[n] = key;
		n += cache_find(c, key) == SLOT_NONE;
	}
	for (uint32_t i = 0; i < n; i++) {
		cache_placement place;

		if (cache_place(c, missing[i], &place) == UFM_OK && place.slot != SLOT_NONE)
			cache_loaded(c, place.slot, place.generation);
	}
	cache_event_end(c, event->layer, members, event->n);
	return event->n - n;
}

static uint64_t run(const trace *t, const ufm_policy *policy, uint32_t slots, uint64_t *elapsed_ns)
{
	cache_config config = {
		.slots = slots, .layers = t->layers, .experts = t->experts, .policy = policy};
	uint64_t hits = 0, start_ns;
	cache *c;

	if (cache_open(&config, &c) != UFM_OK) {
		fprintf(stderr, "replay_speed: %s\n", ufm_last_error());
		exit(1);
	}
	start_ns = cpu_time_ns();
	for (uint32_t e = 0; e < t->event_count; e++)
		hits += step(c, t, &t->events[e]);
	*elapsed_ns = cpu_time_ns() - start_ns;
	cache_close(c);
	return hits;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(const workload *w, const trace *t, uint32_t percent, const ufm_policy *policy)
{
	uint32_t slots = workload_slots(t->layers * t->experts, percent);
	uint64_t elapsed_ns[RUNS], hits = 0;
	double median_ns;

	for (uint32_t i = 0; i < RUNS; i++)
		hits = run(t, policy, slots, &elapsed_ns[i]);
	qsort(elapsed_ns, RUNS, sizeof elapsed_ns[0], by_size);
	median_ns = (double)elapsed_ns[MEDIAN];
	printf("{\"policy\": \"%s\", \"layers\": %u, \"experts\": %u, \"top_k\": %u, \"slots\": %u, "
	       "\"uses\": %u, \"hit_rate\": %.4f, \"uses_per_s\": %.0f, \"use_ns\": %.1f}\n",
	       policy->name, t->layers, t->experts, w->top_k, slots, t->member_count,
	       (double)hits / t->member_count, t->member_count * 1e9 / median_ns,
	       median_ns / t->member_count);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		workload w = shapes[i];
		trace t;

		w.skew = 0.5;
		w.sticky = 0.4;
		workload_trace(&w, &t);
		for (uint32_t percent = 25; percent <= 50; percent += 25) {
			for (uint32_t p = 0; policy_at(p); p++) {
				if (argc < 2 || strcmp(argv[1], policy_at(p)->name) == 0)
					measure(&w, &t, percent, policy_at(p));
			}
		}
		trace_free(&t);
	}
	return 0;
}
