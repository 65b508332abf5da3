/* SPDX-License-Identifier: MIT */
/* Routing of layers that take one cache in turn, made up. */
#include "support/workloads.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"

const uint32_t workload_percent[WORKLOAD_BUDGETS] = {5, 10, 15, 25, 35, 50, 70, 90, 100};

static const workload workloads[] = {
	{.name = "sweep",
     .sweeps = true,
     .layers = 1,
     .experts = 192,
     .top_k = 192,
     .tokens = 1,
     .steps = 40},
	{.name = "nearly-all",
     .sweeps = true,
     .layers = 1,
     .experts = 192,
     .top_k = 2,
     .tokens = 512,
     .steps = 40},
	{.name = "sweep-12",
     .sweeps = true,
     .layers = 12,
     .experts = 64,
     .top_k = 64,
     .tokens = 1,
     .steps = 20},
	{.name = "nearly-all-12",
     .sweeps = true,
     .layers = 12,
     .experts = 64,
     .top_k = 4,
     .tokens = 64,
     .steps = 20},
	{.name = "uniform-48", .layers = 48, .experts = 128, .top_k = 8, .tokens = 1, .steps = 100},
	{.name = "uniform-12", .layers = 12, .experts = 32, .top_k = 4, .tokens = 1, .steps = 400},
	{.name = "zipf-12",
     .layers = 12,
     .experts = 32,
     .top_k = 4,
     .tokens = 1,
     .steps = 400,
     .skew = 1.0},
	{.name = "zipf-48",
     .layers = 48,
     .experts = 128,
     .top_k = 8,
     .tokens = 1,
     .steps = 200,
     .skew = 0.8},
	{.name = "sticky-12",
     .layers = 12,
     .experts = 32,
     .top_k = 4,
     .tokens = 1,
     .steps = 400,
     .skew = 0.5,
     .sticky = 0.4},
	{.name = "sticky-48",
     .layers = 48,
     .experts = 128,
     .top_k = 8,
     .tokens = 1,
     .steps = 200,
     .skew = 0.5,
     .sticky = 0.4},
	{.name = "zipf-58",
     .layers = 58,
     .experts = 256,
     .top_k = 8,
     .tokens = 1,
     .steps = 100,
     .skew = 0.8},
	{.name = "batch-24",
     .layers = 24,
     .experts = 128,
     .top_k = 8,
     .tokens = 16,
     .steps = 60,
     .skew = 0.5,
     .sticky = 0.4},
};

const workload *workload_at(uint32_t index)
{
	return index < sizeof workloads / sizeof workloads[0] ? &workloads[index] : NULL;
}

uint32_t workload_slots(uint32_t keys, uint32_t percent)
{
	uint32_t slots = (uint32_t)((uint64_t)keys * percent / 100);

	return slots ? slots : 1;
}

typedef struct router {
	const workload *w;
	rng r;
	double *cumulated;   /* [experts], by popularity */
	uint32_t *expert_of; /* [layers][experts]: by popularity */
	uint32_t *last;      /* [layers][tokens][top_k] */
	uint8_t *chosen;     /* [experts], of the token */
	uint8_t *demanded;   /* [experts], of the event */
} router;

static void shuffle(rng *r, uint32_t *values, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		values[i] = i;
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = rng_below(r, i), kept = values[i - 1];

		values[i - 1] = values[j];
		values[j] = kept;
	}
}

static void *must_have(size_t count, size_t size)
{
	void *memory = alloc_zeroed(count, size);

	if (!memory)
		abort();
	return memory;
}

static void router_open(router *o, const workload *w)
{
	double sum = 0;

	*o = (router){.w = w};
	rng_seed(&o->r, w->seed + 1);
	o->cumulated = must_have(w->experts, sizeof *o->cumulated);
	o->expert_of = must_have((size_t)w->layers * w->experts, sizeof *o->expert_of);
	o->last = must_have((size_t)w->layers * w->tokens * w->top_k, sizeof *o->last);
	o->chosen = must_have(w->experts, 1);
	o->demanded = must_have(w->experts, 1);
	for (uint32_t i = 0; i < w->experts; i++)
		o->cumulated[i] = sum += pow(i + 1, -w->skew);
	for (uint32_t layer = 0; layer < w->layers; layer++)
		shuffle(&o->r, o->expert_of + (size_t)layer * w->experts, w->experts);
}

static void router_close(router *o)
{
	alloc_free(o->cumulated);
	alloc_free(o->expert_of);
	alloc_free(o->last);
	alloc_free(o->chosen);
	alloc_free(o->demanded);
}

static uint32_t draw(router *o, uint32_t layer)
{
	uint32_t low = 0, high = o->w->experts - 1;
	double at = rng_unit(&o->r) * o->cumulated[high];

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (o->cumulated[middle] > at)
			high = middle;
		else
			low = middle + 1;
	}
	return o->expert_of[(size_t)layer * o->w->experts + low];
}

static void route_token(router *o, uint32_t layer, uint32_t token, bool first)
{
	uint32_t *ids = o->last + ((size_t)layer * o->w->tokens + token) * o->w->top_k, n = 0;

	for (uint32_t i = 0; i < o->w->top_k && !first; i++) {
		if (rng_unit(&o->r) < o->w->sticky) {
			ids[n] = ids[i];
			o->chosen[ids[n++]] = 1;
		}
	}
	while (n < o->w->top_k) {
		uint32_t expert = draw(o, layer);

		if (!o->chosen[expert])
			ids[n++] = expert;
		o->chosen[expert] = 1;
	}
	for (uint32_t i = 0; i < n; i++)
		o->chosen[ids[i]] = 0;
}

static void route_event(router *o, uint32_t layer, bool first, trace *out)
{
	const workload *w = o->w;

	trace_begin(out, layer);
	for (uint32_t token = 0; token < w->tokens; token++) {
		const uint32_t *ids = o->last + ((size_t)layer * w->tokens + token) * w->top_k;

		route_token(o, layer, token, first);
		for (uint32_t i = 0; i < w->top_k; i++) {
			if (!o->demanded[ids[i]])
				trace_add(out, ids[i]);
			o->demanded[ids[i]] = 1;
		}
	}
	for (uint32_t i = 0; i < w->experts; i++)
		o->demanded[i] = 0;
}

void workload_trace(const workload *w, trace *out)
{
	uint32_t events = w->layers * w->steps, together = w->tokens * w->top_k;
	router o;

	assert(w->top_k <= w->experts);
	router_open(&o, w);
	trace_init(out, w->layers, w->experts, events,
	           events * (together < w->experts ? together : w->experts));
	for (uint32_t e = 0; e < events; e++)
		route_event(&o, e % w->layers, e < w->layers, out);
	trace_link(out);
	router_close(&o);
}
