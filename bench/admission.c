/* SPDX-License-Identifier: MIT */
/* What copies for later cost and save: misses of the default policy, and experts that the CPU computed and the link
 * brings afterwards, for several bars that these must pass. Replayed as an engine whose CPU path is on, one sequence
 * after the other: 1,000 steps after 500. One JSON line for each router, part of the experts that has a slot, and bar.
 *
 *   admission [--times COPY,CPU,CALL] [--trace FILE.npy --sequences FILE.csv]
 *
 * times: what admission goes by, in microseconds: an expert over the link and by the CPU, and a layer call that misses
 * nothing. The routers are those of the synthetic presets, at most 24 layers of each; or a recorded trace.
 * docs/results/admission-bar keeps what it prints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/registry.h"
#include "replay/replay.h"
#include "schedule/admit.h"
#include "trace/sticky.h"
#include "trace/trace.h"

#define LAYERS_MAX 24u
#define WARMUP 500u
#define STEPS 1000u
#define RING 4u

static const uint32_t percents[] = {15, 30, 52, 80};
static const float bars[] = {1.0f, 0.3f, 0.2f, 0.1f, 0.05f, 0.02f};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The default policy, watched: the engine has no word for another bar. */
static struct {
	ufm_policy policy;
	float bar; /* in place of the engine's own */
	bool counted, later, lingering;
	uint64_t copied_later;
} watch;

/* Others are those of appeals, which rank the misses of a call. */
static void set_bar(void *state, float bar)
{
	watch.later = bar == ADMIT_BAR;
	policy_find(POLICY_DEFAULT_NAME)->set_bar(state, bar == ADMIT_BAR ? watch.bar : bar);
}

static uint32_t victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	watch.lingering = lingering;
	return policy_find(POLICY_DEFAULT_NAME)->victim(state, newcomer, locked, lingering);
}

/* Who lingers in the ring is there already, and takes no copy. */
static void insert(void *state, uint32_t key)
{
	watch.copied_later += watch.counted && watch.later && !watch.lingering;
	watch.lingering = false;
	policy_find(POLICY_DEFAULT_NAME)->insert(state, key);
}

static void note_event(void *self, const replay_event *event)
{
	(void)self;
	watch.counted = event->counted;
}

static void watch_policy(float bar)
{
	watch.policy = *policy_find(POLICY_DEFAULT_NAME);
	watch.policy.set_bar = set_bar;
	watch.policy.victim = victim;
	watch.policy.insert = insert;
	watch.bar = bar;
	watch.counted = watch.later = watch.lingering = false;
	watch.copied_later = 0;
}

static void check(ufm_status status)
{
	if (status == UFM_OK)
		return;
	fprintf(stderr, "admission: %s\n", ufm_last_error());
	exit(1);
}

typedef struct setting {
	const char *router;
	trace trace;
	admit_terms terms;
} setting;

static void run(const setting *s, uint32_t percent, float bar)
{
	const trace *t = &s->trace;
	replay_observer observer = {.event = note_event};
	replay_config config = {.trace = t,
	                        .policy = &watch.policy,
	                        .scope = REPLAY_POOL,
	                        .slots = t->layers * t->experts * percent / 100,
	                        .ring = RING,
	                        .admit = s->terms,
	                        .batch = 1,
	                        .warmup_steps = WARMUP,
	                        .steps = STEPS,
	                        .observer = &observer};
	replay_count total;
	watch_policy(bar);
	check(replay_run(&config, &total, NULL));
	printf("{\"router\": \"%s\", \"policy\": \"%s\", \"copy_us\": %g, \"cpu_us\": %g, "
	       "\"call_us\": %g, \"percent\": %u, \"slots\": %u, \"bar\": %.2f, \"hit_rate\": %.4f, "
	       "\"misses_a_step\": %.2f, \"copied_later_a_step\": %.2f}\n",
	       s->router, watch.policy.name, (double)s->terms.copy_ns / 1e3,
	       (double)s->terms.cpu_ns / 1e3, (double)s->terms.call_ns / 1e3, percent, config.slots,
	       (double)bar, (double)total.hits / (double)total.uses,
	       (double)(total.uses - total.hits) / STEPS, (double)watch.copied_later / STEPS);
	fflush(stdout);
}

static void run_all(setting *s)
{
	for (size_t p = 0; p < COUNT(percents); p++)
		for (size_t b = 0; b < COUNT(bars); b++)
			run(s, percents[p], bars[b]);
	trace_close(&s->trace);
}

static void run_preset(setting *s, const char *name)
{
	sticky_config router;
	sticky_preset(name, &router);
	uint64_t length = router.tokens / router.sequences;
	router.layers = router.layers < LAYERS_MAX ? router.layers : LAYERS_MAX;
	router.sequences = (uint32_t)((WARMUP + STEPS + length - 1) / length);
	router.tokens = router.sequences * length;
	router.seed = 1;
	check(trace_sticky(&router, &s->trace));
	s->router = name;
	run_all(s);
}

static void usage(void)
{
	fprintf(stderr,
	        "usage: admission [--times COPY,CPU,CALL] [--trace FILE.npy --sequences FILE.csv]\n");
	exit(2);
}

static admit_terms read_times(const char *text)
{
	double copy_us, cpu_us, call_us;
	char rest;
	if (sscanf(text, "%lf,%lf,%lf%c", &copy_us, &cpu_us, &call_us, &rest) != 3 ||
	    !(copy_us > 0 && cpu_us > 0 && call_us > 0 && copy_us + cpu_us + call_us < 1e6)) {
		fprintf(stderr, "admission: --times: '%.60s', expected three numbers of microseconds\n",
		        text);
		exit(2);
	}
	return (admit_terms){(uint64_t)(copy_us * 1e3), (uint64_t)(cpu_us * 1e3),
	                     (uint64_t)(call_us * 1e3)};
}

int main(int argc, char *argv[])
{
	setting s = {.terms = {.copy_ns = 200000, .cpu_ns = 95000, .call_ns = 55000}};
	trace_source recorded = {0};
	const char *name;
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			usage();
		if (strcmp(argv[i], "--times") == 0)
			s.terms = read_times(argv[i + 1]);
		else if (strcmp(argv[i], "--trace") == 0)
			recorded.path = argv[i + 1];
		else if (strcmp(argv[i], "--sequences") == 0)
			recorded.sequences_path = argv[i + 1];
		else
			usage();
	}
	if (recorded.path) {
		check(trace_read(&recorded, &s.trace));
		s.router = "recorded";
		run_all(&s);
		return 0;
	}
	for (uint32_t i = 0; (name = sticky_preset_name(i)); i++)
		run_preset(&s, name);
	return 0;
}
