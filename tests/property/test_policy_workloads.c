/* SPDX-License-Identifier: MIT */
/* How near the policies come to the offline bound, over workloads and budgets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "policy/registry.h"
#include "support/workloads.h"

/* A workload with its bound at each budget. The bound has the same slots, ring included; for events
 * whose members are pinned together it is a bound only: no order of serving need reach it. */
typedef struct course {
	const workload *w;
	trace t;
	uint32_t slots[WORKLOAD_BUDGETS];
	uint64_t bound[WORKLOAD_BUDGETS];
} course;

static void course_open(course *c, const workload *w)
{
	c->w = w;
	workload_trace(w, &c->t);
	for (uint32_t b = 0; b < WORKLOAD_BUDGETS; b++) {
		c->slots[b] = workload_slots(w->layers * w->experts, workload_percent[b]);
		c->bound[b] = replay_trace(&c->t, &policy_min_bypass, c->slots[b], 0, NULL);
	}
}

static void course_close(course *c)
{
	trace_free(&c->t);
}

static uint32_t ring_of(const course *c, uint32_t budget)
{
	uint32_t slots = c->slots[budget];

	return slots == c->w->layers * c->w->experts ? 0 : cache_ring_for(slots, 0);
}

static void measure(const course *c, const ufm_policy *policy, double *fractions)
{
	char line[WORKLOAD_BUDGETS * 6 + 1] = "";

	for (uint32_t b = 0; b < WORKLOAD_BUDGETS; b++) {
		uint64_t hits = replay_trace(&c->t, policy, c->slots[b], ring_of(c, b), NULL);

		fractions[b] = c->bound[b] ? (double)hits / (double)c->bound[b] : 1.0;
		snprintf(line + 6 * b, 7, " %.3f", fractions[b]);
	}
	print_message("%-14s %-6s%s\n", c->w->name, policy->name, line);
}

/* What the default may fall behind another policy: noise of what routing cannot foretell. */
#define BEHIND_MAX 0.02

static void compare_with_others(const course *c, const double *best)
{
	for (uint32_t p = 1; !(policy_at(p)->flags & UFM_POLICY_OFFLINE); p++) {
		double other[WORKLOAD_BUDGETS];

		measure(c, policy_at(p), other);
		for (uint32_t b = 0; b < WORKLOAD_BUDGETS; b++) {
			if (best[b] < other[b] - BEHIND_MAX)
				fail_msg("%s at %u %%: %.3f of the bound, %s %.3f", c->w->name, workload_percent[b],
				         best[b], policy_at(p)->name, other[b]);
		}
	}
}

/* Layers that demand all or nearly all they have. In a cycle of layers the ring's slots cannot hit,
 * as each layer refills them: they are what is missing. */
static void require_near_the_bound(const course *c, const double *best)
{
	for (uint32_t b = 0; b < WORKLOAD_BUDGETS; b++) {
		uint32_t lost = c->w->layers > 1 ? ring_of(c, b) : 0;
		double least = 0.96 * (c->slots[b] - lost) / c->slots[b];

		if (best[b] < least)
			fail_msg("%s at %u %%: %.3f of the bound, expected at least %.3f", c->w->name,
			         workload_percent[b], best[b], least);
	}
}

static void test_the_default_over_workloads_and_budgets(void **state)
{
	(void)state;
	for (uint32_t i = 0; workload_at(i); i++) {
		double best[WORKLOAD_BUDGETS];
		course c;

		course_open(&c, workload_at(i));
		measure(&c, policy_find(NULL), best);
		compare_with_others(&c, best);
		if (c.w->sweeps)
			require_near_the_bound(&c, best);
		course_close(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_default_over_workloads_and_budgets),
	};

	return cmocka_run_group_tests_name("policies on workloads", tests, NULL, NULL);
}
