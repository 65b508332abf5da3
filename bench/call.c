/* SPDX-License-Identifier: MIT */
/* What a layer call costs beside its arithmetic: one token through experts so small that they are nothing to speak of (48 KiB
 * where the case does not say), by tickets and by calls that wait, in turns of one run. One JSON line for each case; in
 * nanoseconds. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support/fixture.h"

#define ROUNDS 4000u
#define TURNS 8u /* tickets, then waits, and again */

static double took_ns[2][ROUNDS];

static void must(ufm_status status, const char *what)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "call: %s: %s\n", what, ufm_last_error());
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Another token each time, so that other experts are wanted. */
static double call_once(fixture *f, uint32_t round, uint32_t waits)
{
	fixture_fill_x(f, round);
	ufm_moe_call call = {.struct_size = sizeof call,
	                     .tokens = 1,
	                     .x = &f->x_tokens,
	                     .y = &f->y_tokens,
	                     .wait = waits};
	ufm_ticket ticket;
	uint64_t begin_ns = clock_now_ns();
	must(ufm_moe_forward(f->layers[0], &call, &ticket), "moe_forward");
	must(ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER), "ticket_wait");
	return (double)(clock_now_ns() - begin_ns);
}

static void print_way(const char *name, uint32_t waits, double misses)
{
	double *ns = took_ns[waits];

	qsort(ns, ROUNDS, sizeof *ns, by_value);
	printf("{\"case\": \"%s\", \"way\": \"%s\", \"rounds\": %u, \"misses_per_call\": %.2f, "
	       "\"call_ns\": %.0f, \"call_p10_ns\": "
	       "%.0f, \"call_p90_ns\": %.0f}\n",
	       name, waits ? "wait" : "ticket", ROUNDS, misses, ns[ROUNDS / 2], ns[ROUNDS / 10],
	       ns[ROUNDS - ROUNDS / 10]);
	fflush(stdout);
}

static void measure(const char *name, fixture_config c)
{
	fixture f;

	c.tokens = 1;
	c.no_poison = 1; /* it would take longer than the copies */
	c.d_model = c.d_hidden = c.d_model ? c.d_model : 64;
	c.kind = UFM_EXPERT_GATED;
	must(fixture_open(&f, &c), "opening");
	must(fixture_prefetch_all(&f), "prefetch");
	for (uint32_t round = 0; round < ROUNDS; round++)
		(void)call_once(&f, round, round % 2);
	uint64_t before = fixture_counter(&f, "streamed_uses");
	for (uint32_t at = 0; at < ROUNDS; at += ROUNDS / TURNS) {
		for (uint32_t waits = 0; waits < 2; waits++) {
			for (uint32_t i = at; i < at + ROUNDS / TURNS; i++)
				took_ns[waits][i] = call_once(&f, i, waits);
		}
	}
	double misses = (double)(fixture_counter(&f, "streamed_uses") - before) / (2.0 * ROUNDS);
	fixture_close(&f);
	print_way(name, 0, misses);
	print_way(name, 1, misses);
}

int main(void)
{
	measure("resident", (fixture_config){.resident_all = 1});
	measure("paged, all hits", (fixture_config){.slots_max = 8, .layers = 1});
	measure("missed", (fixture_config){.experts = 64, .slots_max = 4});
	measure("missed, 8 of 64", (fixture_config){.experts = 64, .slots_max = 12, .top_k = 8});
	measure("missed, 192 KiB", (fixture_config){.experts = 64, .slots_max = 4, .d_model = 128});
	measure("missed, 432 KiB", (fixture_config){.experts = 64, .slots_max = 4, .d_model = 192});
	return 0;
}
