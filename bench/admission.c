/* SPDX-License-Identifier: MIT */
/* What a bar costs and saves: hits, and experts that are copied to stay, by the default policy over 24 layers of
 * the synthetic router of qwen3-30b-a3b, one sequence after the other, replayed as an engine whose CPU path is
 * on: 1,000 steps after 500. One JSON line for each number of slots and bar, and for the bar that follows what
 * the link owes.
 *
 *   admission [COPY CPU CALL]
 *
 * That one goes by these times in microseconds. docs/results/admission-bar keeps what it prints. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/registry.h"
#include "replay/replay.h"
#include "trace/sticky.h"

#define LAYERS 24u
#define WARMUP 500u
#define STEPS 1000u
#define RING 4u

static const uint32_t slots_of[] = {430, 880, 1560}; /* of 3,072 experts */
static const float bars[] = {1.0f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f, 0.3f, 0.2f};

/* The default policy, watched: replay has no word for a bar that stays. */
static struct {
	ufm_policy policy;
	float fixed; /* 0: whatever is set */
	bool counted, lingering;
	uint64_t inserted, bars_set;
	double bars_sum;
} watch;

static void set_bar(void *state, float bar)
{
	watch.bars_set += watch.counted;
	watch.bars_sum += watch.counted ? (double)bar : 0;
	policy_find(POLICY_DEFAULT_NAME)->set_bar(state, watch.fixed > 0 ? watch.fixed : bar);
}

static uint32_t victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	watch.lingering = lingering;
	return policy_find(POLICY_DEFAULT_NAME)->victim(state, newcomer, locked, lingering);
}

/* Who lingers in the ring is there already, and takes no copy. */
static void insert(void *state, uint32_t key)
{
	watch.inserted += watch.counted && !watch.lingering;
	watch.lingering = false;
	policy_find(POLICY_DEFAULT_NAME)->insert(state, key);
}

static void note_event(void *self, const replay_event *event)
{
	(void)self;
	watch.counted = event->counted;
}

static void watch_policy(float fixed)
{
	watch.policy = *policy_find(POLICY_DEFAULT_NAME);
	watch.policy.set_bar = set_bar;
	watch.policy.victim = victim;
	watch.policy.insert = insert;
	watch.fixed = fixed;
	watch.counted = watch.lingering = false;
	watch.inserted = watch.bars_set = 0;
	watch.bars_sum = 0;
}

static void check(ufm_status status)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "admission: %s\n", ufm_last_error());
	exit(1);
}

static void print_row(uint32_t slots, const admit_terms *terms, const replay_count *total)
{
	double steps = STEPS, misses = (double)(total->uses - total->hits);
	printf("{\"slots\": %u, \"policy\": \"%s\", ", slots, watch.policy.name);
	if (watch.fixed > 0)
		printf("\"bar\": %.2f, \"copy_us\": null, \"cpu_us\": null, \"call_us\": null, ",
		       (double)watch.fixed);
	else
		printf("\"bar\": null, \"copy_us\": %g, \"cpu_us\": %g, \"call_us\": %g, ",
		       (double)terms->copy_ns / 1e3, (double)terms->cpu_ns / 1e3,
		       (double)terms->call_ns / 1e3);
	printf("\"bar_mean\": %.3f, \"hit_rate\": %.4f, \"misses_a_step\": %.2f, "
	       "\"kept_a_step\": %.2f}\n",
	       watch.fixed > 0 ? (double)watch.fixed : watch.bars_sum / (double)watch.bars_set,
	       (double)total->hits / (double)total->uses, misses / steps,
	       (double)watch.inserted / steps);
	fflush(stdout);
}

static void run(const trace *t, uint32_t slots, float fixed, const admit_terms *terms)
{
	replay_observer observer = {.event = note_event};
	replay_config config = {.trace = t,
	                        .policy = &watch.policy,
	                        .scope = REPLAY_POOL,
	                        .slots = slots,
	                        .ring = RING,
	                        .admit = *terms,
	                        .batch = 1,
	                        .warmup_steps = WARMUP,
	                        .steps = STEPS,
	                        .observer = &observer};
	replay_count total;
	watch_policy(fixed);
	check(replay_run(&config, &total, NULL));
	print_row(slots, terms, &total);
}

static uint64_t term_ns(const char *text)
{
	double us = strtod(text, NULL);
	if (us > 0 && us <= 1e6)
		return (uint64_t)(us * 1000);
	fprintf(stderr, "admission: found '%.60s', expected microseconds above 0\n", text);
	exit(2);
}

int main(int argc, char *argv[])
{
	admit_terms terms = {.copy_ns = 178000, .cpu_ns = 90000, .call_ns = 50000};
	sticky_config router;
	uint64_t length; /* of a sequence */
	trace t;
	if (argc != 1 && argc != 4) {
		fprintf(stderr, "usage: admission [COPY CPU CALL]\n");
		return 2;
	}
	if (argc == 4)
		terms = (admit_terms){
			.copy_ns = term_ns(argv[1]), .cpu_ns = term_ns(argv[2]), .call_ns = term_ns(argv[3])};
	sticky_preset("qwen3-30b-a3b", &router);
	length = router.tokens / router.sequences;
	router.layers = LAYERS;
	router.sequences = (uint32_t)((WARMUP + STEPS + length - 1) / length);
	router.tokens = router.sequences * length;
	router.seed = 1;
	check(trace_sticky(&router, &t));
	for (size_t s = 0; s < sizeof slots_of / sizeof slots_of[0]; s++) {
		for (size_t b = 0; b < sizeof bars / sizeof bars[0]; b++)
			run(&t, slots_of[s], bars[b], &terms);
		run(&t, slots_of[s], 0, &terms);
	}
	trace_close(&t);
	return 0;
}
