/* SPDX-License-Identifier: MIT */
/* What recording a layer's routing costs the host: routing_add, for calls of some tokens. One JSON line for each
 * case; the median and the least of many passes over all layers, in nanoseconds a call. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/median.h"
#include "base/rng.h"
#include "telemetry/routing.h"

#define PASSES 501
#define RING_BYTES (64u << 20)
#define TOKENS_MAX 8192u
#define TOP_K_MAX 8u

static double pass_ns(routing *r, const routing_config *c, const int32_t *ids, uint32_t tokens)
{
	uint64_t begin_ns = clock_now_ns();
	for (uint32_t layer = 0; layer < c->layers; layer++)
		routing_add(r, layer, ids, tokens, c->ranks);
	return (double)(clock_now_ns() - begin_ns) / c->layers;
}

static void measure(const routing_config *c, uint32_t tokens)
{
	static int32_t ids[TOKENS_MAX * TOP_K_MAX];
	static double call_ns[PASSES];
	routing *r;
	rng random;
	rng_seed(&random, 1);
	for (uint32_t i = 0; i < tokens * c->ranks; i++)
		ids[i] = (int32_t)rng_below(&random, c->experts);
	if (routing_open(c, &r) != UFM_OK) {
		fprintf(stderr, "routing: %s\n", ufm_last_error());
		exit(1);
	}
	for (uint32_t i = 0; i < PASSES; i++)
		call_ns[i] = pass_ns(r, c, ids, tokens);
	routing_close(r);
	double middle = median_of(call_ns, PASSES);
	printf("{\"layers\": %u, \"experts\": %u, \"top_k\": %u, \"tokens\": %u, \"passes\": %u, "
	       "\"call_ns\": %.1f, \"call_ns_least\": %.1f}\n",
	       c->layers, c->experts, c->ranks, tokens, PASSES, middle, call_ns[0]);
}

int main(void)
{
	static const routing_config models[] = {{24, 32, 4, RING_BYTES}, {48, 128, 8, RING_BYTES}};
	static const uint32_t tokens[] = {1, 32, 512, TOKENS_MAX};
	for (uint32_t m = 0; m < sizeof models / sizeof models[0]; m++)
		for (uint32_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
			measure(&models[m], tokens[i]);
	return 0;
}
