/* SPDX-License-Identifier: MIT */
/* What a lease costs beside the bytes: begin, ready, view and release of experts so small that
 * copying one costs nothing to speak of. One JSON line for each case; medians, in nanoseconds. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support/fixture.h"

#define ROUNDS 4000
#define EXPERTS 128
#define LAYERS 4
#define WANTED_MAX 8

typedef struct timing {
	uint64_t begin_ns, ready_ns, view_ns, release_ns, lease_ns;
} timing;

static timing timings[ROUNDS];

static void must(ufm_status status, const char *what)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "lease: %s: %s\n", what, ufm_last_error());
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t percentile(size_t field_offset, uint32_t percent)
{
	static uint64_t values[ROUNDS];

	for (uint32_t i = 0; i < ROUNDS; i++)
		values[i] = *(const uint64_t *)((const char *)&timings[i] + field_offset);
	qsort(values, ROUNDS, sizeof values[0], by_value);
	return values[(uint64_t)(ROUNDS - 1) * percent / 100];
}

static timing lease_once(ufm_engine *engine, uint32_t layer, const uint32_t *experts, uint32_t n,
                         ufm_stream *stream, ufm_stream *release_on)
{
	ufm_lease *lease;
	ufm_devptr sum = 0;
	uint64_t at[5];

	at[0] = clock_now_ns();
	must(ufm_acquire_begin(engine, layer, experts, n, &lease), "acquire_begin");
	at[1] = clock_now_ns();
	must(ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER), "acquire_ready");
	at[2] = clock_now_ns();
	for (uint32_t i = 0; i < n; i++)
		sum |= ufm_lease_view(lease, i);
	at[3] = clock_now_ns();
	must(ufm_release(lease, release_on), "release");
	at[4] = clock_now_ns();
	if (!sum)
		abort();
	return (timing){at[1] - at[0], at[2] - at[1], at[3] - at[2], at[4] - at[3], at[4] - at[0]};
}

/* Which experts a round takes: a run of them, so that with fewer slots than experts all are missed. */
static void choose(uint32_t round, uint32_t n, uint32_t *experts)
{
	for (uint32_t i = 0; i < n; i++)
		experts[i] = (round / LAYERS * n + i) % EXPERTS;
}

static void print_case(const char *name, const fixture_config *c, uint32_t n, bool marked,
                       double misses)
{
	printf("{\"case\": \"%s\", \"layers\": %u, \"experts\": %u, \"slots\": %u, \"policy\": \"%s\", "
	       "\"n\": %u, \"marked\": %s, \"rounds\": %u, \"misses_per_lease\": %.2f, "
	       "\"lease_ns\": %llu, \"lease_p95_ns\": %llu, \"begin_ns\": %llu, \"ready_ns\": %llu, "
	       "\"view_ns\": %llu, \"release_ns\": %llu}\n",
	       name, LAYERS, EXPERTS, c->slots_max, c->policy ? c->policy : "default", n,
	       marked ? "true" : "false", ROUNDS, misses,
	       (unsigned long long)percentile(offsetof(timing, lease_ns), 50),
	       (unsigned long long)percentile(offsetof(timing, lease_ns), 95),
	       (unsigned long long)percentile(offsetof(timing, begin_ns), 50),
	       (unsigned long long)percentile(offsetof(timing, ready_ns), 50),
	       (unsigned long long)percentile(offsetof(timing, view_ns), 50),
	       (unsigned long long)percentile(offsetof(timing, release_ns), 50));
	fflush(stdout);
}

/* marked: the release records a last use on a stream, as after kernels. drained: the streams are
 * idle before each round, so that a round waits for nobody. */
static void measure(const char *name, fixture_config c, uint32_t n, bool marked)
{
	uint32_t experts[WANTED_MAX];
	fixture f;
	ufm_stream *stream;
	uint64_t before;

	c.layers = LAYERS;
	c.experts = EXPERTS;
	c.d_model = c.d_hidden = 8;
	must(fixture_open(&f, &c), "opening");
	must(ufm_stream_open(f.engine, NULL, &stream), "stream_open");
	for (uint32_t round = 0; round < ROUNDS / 4; round++) {
		choose(round, n, experts);
		(void)lease_once(f.engine, round % LAYERS, experts, n, stream, marked ? stream : NULL);
	}
	before = fixture_counter(&f, "streamed_uses");
	for (uint32_t round = 0; round < ROUNDS; round++) {
		choose(round, n, experts);
		must(ufm_stream_sync(f.engine, stream), "stream_sync");
		timings[round] =
			lease_once(f.engine, round % LAYERS, experts, n, stream, marked ? stream : NULL);
	}
	print_case(name, &c, n, marked,
	           (double)(fixture_counter(&f, "streamed_uses") - before) / ROUNDS);
	ufm_stream_close(f.engine, stream);
	fixture_close(&f);
}

int main(void)
{
	const fixture_config fits = {.resident_all = 1};
	const fixture_config lru = {.slots_max = 64, .policy = "lru"};
	const fixture_config cycle = {.slots_max = 64, .policy = "cycle"};

	for (uint32_t n = 1; n <= WANTED_MAX; n += WANTED_MAX - 1) {
		measure("resident", fits, n, false);
		measure("resident", fits, n, true);
		measure("missed", lru, n, false);
		measure("missed", lru, n, true);
		measure("missed", cycle, n, true);
	}
	return 0;
}
