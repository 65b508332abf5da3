/* SPDX-License-Identifier: MIT */
/* How near the presets of the synthetic router come to the figures that they are made for: one JSON line
 * for each figure, with its mean over seeds and the least and largest. docs/results/sticky-calibration
 * keeps them.
 *
 *   sticky [TRACE.npy [SEQUENCES.csv]]
 *
 * With a trace (of gpt-oss-20b): its own figures instead of the published ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/statistics.h"
#include "trace/sticky.h"

#define SEEDS 5u
#define NO_TARGET NAN

/* LRU_SINGLE: each use an event of its own, so that members of a set evict each other. POPULARITY: uses of
 * a layer's expert of that rank, 1 the most used, by the mean over its experts. */
typedef enum figure_kind { OVERLAP, DISTANCE, LRU, LRU_SINGLE, POPULARITY } figure_kind;

typedef struct figure {
	const char *preset;
	figure_kind kind;
	uint32_t at;         /* tokens, slots */
	double target, high; /* high: of a range, else 0 */
} figure;

static const char *const kind_names[] = {"overlap", "used_within_tokens", "lru", "lru_single_uses",
                                         "popularity"};

static const figure figures[] = {
	{"gpt-oss-20b", OVERLAP, 0, 0.44, 0},
	{"gpt-oss-20b", LRU, 8, 0.659, 0},
	{"gpt-oss-20b", LRU, 12, NO_TARGET, 0},
	{"gpt-oss-20b", LRU, 16, 0.896, 0},
	{"gpt-oss-20b", LRU, 20, NO_TARGET, 0},
	{"gpt-oss-20b", LRU, 24, 0.979, 0},
	{"gpt-oss-20b", LRU, 28, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 1, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 2, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 3, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 4, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 8, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 16, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 32, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 64, NO_TARGET, 0},
	{"gpt-oss-20b", DISTANCE, 256, NO_TARGET, 0},
	{"gpt-oss-20b", POPULARITY, 1, NO_TARGET, 0},
	{"gpt-oss-20b", POPULARITY, 8, NO_TARGET, 0},
	{"gpt-oss-20b", POPULARITY, 16, NO_TARGET, 0},
	{"gpt-oss-20b", POPULARITY, 32, NO_TARGET, 0},
	{"olmoe-1b-7b", OVERLAP, 0, 0.40, 0.42},
	{"olmoe-1b-7b", LRU_SINGLE, 8, 0.277, 0},
	{"olmoe-1b-7b", LRU_SINGLE, 16, 0.537, 0},
	{"olmoe-1b-7b", LRU_SINGLE, 24, 0.684, 0},
	{"olmoe-1b-7b", LRU_SINGLE, 32, 0.794, 0},
	{"olmoe-1b-7b", LRU, 8, NO_TARGET, 0},
	{"olmoe-1b-7b", LRU, 16, NO_TARGET, 0},
	{"olmoe-1b-7b", LRU, 24, NO_TARGET, 0},
	{"olmoe-1b-7b", LRU, 32, NO_TARGET, 0},
	{"qwen3-30b-a3b", DISTANCE, 1, 0.45, 0},
	{"qwen3-30b-a3b", DISTANCE, 2, 0.5, 1},
	{"qwen3-30b-a3b", LRU, 51, 0.90, 0.95},
	{"512-top-10", OVERLAP, 0, NO_TARGET, 0},
	{"512-top-10", LRU, 93, 0.435, 0},
	{"512-top-10", LRU, 186, 0.620, 0},
	{"512-top-10", LRU, 279, 0.720, 0},
	{"512-top-10", LRU, 372, 0.789, 0},
};
#define FIGURES (sizeof figures / sizeof figures[0])

static void stop(const char *what)
{
	fprintf(stderr, "sticky: %s: %s\n", what, ufm_last_error());
	exit(1);
}

static trace single_uses(const trace *t)
{
	trace s = *t;
	s.tokens = t->tokens * t->ranks;
	s.ranks = s.sequences = 1;
	s.ids = alloc_zeroed(s.tokens * s.layers, sizeof *s.ids);
	s.starts = alloc_zeroed(2, sizeof *s.starts);
	if (!s.ids || !s.starts)
		stop("single uses");
	s.starts[1] = s.tokens;
	for (uint64_t i = 0; i < s.tokens; i++)
		for (uint32_t layer = 0; layer < s.layers; layer++)
			s.ids[i * s.layers + layer] = trace_event(t, i / t->ranks, layer)[i % t->ranks];
	return s;
}

static int larger_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x > y ? -1 : x < y;
}

static double popularity(const trace *t, uint32_t rank)
{
	double sum = 0;
	uint64_t *uses = alloc_zeroed(t->experts, sizeof *uses);
	if (!uses)
		stop("popularity");
	for (uint32_t layer = 0; layer < t->layers; layer++) {
		memset(uses, 0, t->experts * sizeof *uses);
		for (uint64_t token = 0; token < t->tokens; token++)
			for (uint32_t i = 0; i < t->ranks; i++)
				uses[trace_event(t, token, layer)[i]]++;
		qsort(uses, t->experts, sizeof *uses, larger_first);
		sum += (double)uses[rank - 1];
	}
	alloc_free(uses);
	return sum * t->experts / ((double)t->tokens * t->layers * t->ranks);
}

static double value_of(const trace *t, const trace_statistics *s, const trace_statistics *single,
                       const figure *f)
{
	switch (f->kind) {
	case OVERLAP:
		return trace_overlap(s);
	case DISTANCE:
		return trace_distance_share(s, f->at);
	case LRU:
		return trace_lru_hit_rate(s, f->at);
	case POPULARITY:
		return popularity(t, f->at);
	case LRU_SINGLE:
		break;
	}
	return trace_lru_hit_rate(single, f->at);
}

/* Fills in the figures of this preset. */
static void measure_all(const trace *t, const char *preset, double *values)
{
	trace_statistics s, of_single;
	trace single = single_uses(t);
	if (trace_measure(t, 0, 0, &s) || trace_measure(&single, 0, 0, &of_single))
		stop(preset);
	for (size_t i = 0; i < FIGURES; i++)
		if (strcmp(figures[i].preset, preset) == 0)
			values[i] = value_of(t, &s, &of_single, &figures[i]);
	trace_statistics_close(&s);
	trace_statistics_close(&of_single);
	trace_close(&single);
}

static void make_seed(uint32_t seed, double *values)
{
	for (size_t i = 0; i < FIGURES; i++) {
		const char *preset = figures[i].preset;
		sticky_config config;
		trace t;
		if (i && strcmp(figures[i - 1].preset, preset) == 0)
			continue;
		if (!sticky_preset(preset, &config))
			abort();
		config.seed = seed;
		if (trace_sticky(&config, &t))
			stop(preset);
		measure_all(&t, preset, values);
		trace_close(&t);
	}
}

static void print_figure(const figure *f, double target, const char *source,
                         const double values[SEEDS][FIGURES], size_t at)
{
	double sum = 0, least = INFINITY, most = -INFINITY;
	for (uint32_t seed = 0; seed < SEEDS; seed++) {
		sum += values[seed][at];
		least = fmin(least, values[seed][at]);
		most = fmax(most, values[seed][at]);
	}
	printf("{\"preset\": \"%s\", \"figure\": \"%s\", \"at\": %u, ", f->preset, kind_names[f->kind],
	       f->at);
	if (isnan(target))
		printf("\"source\": null, \"target\": null, ");
	else
		printf("\"source\": \"%s\", \"target\": %.4f, ", source, target);
	if (f->high > 0)
		printf("\"target_high\": %.4f, ", f->high);
	printf("\"mean\": %.4f, \"least\": %.4f, \"most\": %.4f, \"seeds\": %u}\n", sum / SEEDS, least,
	       most, SEEDS);
}

int main(int argc, char **argv)
{
	static double values[SEEDS][FIGURES], real[FIGURES];
	for (size_t i = 0; i < FIGURES; i++)
		real[i] = NAN;
	if (argc > 1) {
		trace t;
		trace_source source = {.path = argv[1], .sequences_path = argc > 2 ? argv[2] : NULL};
		if (trace_read(&source, &t))
			stop("the trace");
		measure_all(&t, "gpt-oss-20b", real);
		trace_close(&t);
	}
	for (uint32_t seed = 0; seed < SEEDS; seed++)
		make_seed(seed, values[seed]);
	for (size_t i = 0; i < FIGURES; i++) {
		bool measured = !isnan(real[i]);
		print_figure(&figures[i], measured ? real[i] : figures[i].target,
		             measured ? "trace" : "published", values, i);
	}
	return 0;
}
