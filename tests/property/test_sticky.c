/* SPDX-License-Identifier: MIT */
/* The synthetic router: what it is asked for is what its traces show, and its presets show what real routers
 * did. Figures: docs/results/sticky-calibration. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/assert_error.h"
#include "trace/statistics.h"
#include "trace/sticky.h"

static const sticky_config small = {.seed = 1,
                                    .tokens = 4000,
                                    .sequences = 20,
                                    .layers = 12,
                                    .experts = 32,
                                    .top_k = 4,
                                    .overlap = 0.4,
                                    .skew = 0.5,
                                    .drift = 0.05};

static trace make(const sticky_config *c)
{
	trace t;
	if (trace_sticky(c, &t) != UFM_OK)
		fail_msg("%s", ufm_last_error());
	return t;
}

static trace_statistics measure(const trace *t)
{
	trace_statistics s;
	assert_int_equal(trace_measure(t, 0, 0, &s), UFM_OK);
	return s;
}

static void expect_near(const char *what, double found, double expected, double tolerance)
{
	if (!(fabs(found - expected) <= tolerance))
		fail_msg("%s: found %.4f, expected %.3f within %.3f", what, found, expected, tolerance);
}

/* ---- the table */

static void expect_table(const sticky_config *c)
{
	trace t = make(c);
	assert_int_equal(t.tokens, c->tokens);
	assert_int_equal(t.layers, c->layers);
	assert_int_equal(t.ranks, c->top_k);
	assert_int_equal(t.experts, c->experts);
	assert_int_equal(t.sequences, c->sequences);
	assert_int_equal(t.starts[0], 0);
	assert_int_equal(t.starts[t.sequences], t.tokens);
	for (uint32_t i = 0; i < t.sequences; i++)
		assert_true(t.starts[i] < t.starts[i + 1]);
	for (uint64_t i = 0; i < t.tokens * t.layers; i++) {
		const uint16_t *ids = t.ids + i * t.ranks;
		for (uint32_t rank = 0; rank < t.ranks; rank++) {
			assert_true(ids[rank] < t.experts);
			for (uint32_t before = 0; before < rank; before++)
				assert_int_not_equal(ids[rank], ids[before]);
		}
	}
	trace_close(&t);
}

static void awkward_shapes(void **state)
{
	(void)state;
	static const uint32_t shapes[][5] = {
		/* tokens, sequences, layers, experts, top_k */
		{1, 1, 1, 1, 1},  {1, 1, 3, 8, 2},   {7, 7, 2, 8, 2},     {100, 7, 1, 5, 5},
		{11, 3, 2, 8, 7}, {3, 2, 1, 513, 3}, {2, 1, 1, 65535, 1},
	};
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		const uint32_t *s = shapes[i];
		sticky_config c = {.tokens = s[0],
		                   .sequences = s[1],
		                   .layers = s[2],
		                   .experts = s[3],
		                   .top_k = s[4],
		                   .overlap = s[4] == s[3]       ? 1
		                              : s[4] + 1 == s[3] ? 0.9
		                                                 : 0.5,
		                   .skew = 1,
		                   .drift = 0.1};
		expect_table(&c);
	}
	expect_table(&small);
}

static void equal_seeds_give_equal_traces(void **state)
{
	(void)state;
	sticky_config other = small;
	trace a = make(&small), b = make(&small);
	size_t bytes = a.tokens * a.layers * a.ranks * sizeof *a.ids;
	assert_memory_equal(a.ids, b.ids, bytes);
	trace_close(&b);
	other.seed = 2;
	b = make(&other);
	assert_memory_not_equal(a.ids, b.ids, bytes);
	trace_close(&a);
	trace_close(&b);
}

/* ---- what the parameters do */

static void overlap_is_what_was_asked(void **state)
{
	(void)state;
	static const double overlaps[] = {0.3, 0.5, 0.8}, skews[] = {0, 1}, drifts[] = {0, 0.3};
	for (size_t i = 0; i < 3 * 2 * 2; i++) {
		sticky_config c = small;
		c.layers = 24;
		c.overlap = overlaps[i % 3];
		c.skew = skews[i / 3 % 2];
		c.drift = drifts[i / 6];
		c.echo = i % 2 ? 0.3 : 0;
		trace t = make(&c);
		trace_statistics s = measure(&t);
		expect_near("overlap", trace_overlap(&s), c.overlap, 0.025);
		trace_statistics_close(&s);
		trace_close(&t);
	}
}

/* The part of all uses that the most popular eighth of each layer's experts has. */
static double share_of_popular(const trace *t)
{
	uint64_t popular = 0, uses = t->tokens * t->layers * t->ranks;
	for (uint32_t layer = 0; layer < t->layers; layer++) {
		uint64_t counts[32] = {0};
		for (uint64_t token = 0; token < t->tokens; token++)
			for (uint32_t rank = 0; rank < t->ranks; rank++)
				counts[trace_event(t, token, layer)[rank]]++;
		for (uint32_t i = 0; i < t->experts / 8; i++) {
			uint32_t best = 0;
			for (uint32_t e = 1; e < t->experts; e++)
				best = counts[e] > counts[best] ? e : best;
			popular += counts[best];
			counts[best] = 0;
		}
	}
	return (double)popular / (double)uses;
}

static void skew_makes_some_popular(void **state)
{
	(void)state;
	double shares[3];
	for (uint32_t i = 0; i < 3; i++) {
		sticky_config c = small;
		c.skew = (double[]){0, 1, 3}[i];
		trace t = make(&c);
		shares[i] = share_of_popular(&t);
		trace_close(&t);
	}
	expect_near("evenly popular", shares[0], 0.19, 0.03);
	assert_true(shares[1] > shares[0] + 0.08 && shares[2] > shares[1] + 0.03);
}

/* Mean share of a set that the one `distance` tokens before had, in one sequence. */
static double common_at(const trace *t, uint64_t distance)
{
	uint64_t common = 0, uses = 0;
	for (uint32_t sequence = 0; sequence < t->sequences; sequence++)
		for (uint64_t at = t->starts[sequence] + distance; at < t->starts[sequence + 1]; at++)
			for (uint32_t layer = 0; layer < t->layers; layer++) {
				const uint16_t *now = trace_event(t, at, layer);
				const uint16_t *then = trace_event(t, at - distance, layer);
				for (uint32_t i = 0; i < t->ranks * t->ranks; i++)
					common += now[i / t->ranks] == then[i % t->ranks];
				uses += t->ranks;
			}
	return (double)common / (double)uses;
}

static void drift_and_echo_make_sets_age(void **state)
{
	(void)state;
	double after_150[3], after_2[2];
	for (uint32_t i = 0; i < 3; i++) {
		sticky_config c = small;
		c.drift = (double[]){0, 0.2, 0.6}[i];
		trace t = make(&c);
		after_150[i] = common_at(&t, 150);
		trace_close(&t);
	}
	expect_near("without drift", after_150[0], 0.4, 0.04);
	assert_true(after_150[1] < after_150[0] - 0.03 && after_150[2] < after_150[1] - 0.03);
	for (uint32_t i = 0; i < 2; i++) {
		sticky_config c = small;
		c.echo = i ? 0.4 : 0;
		trace t = make(&c);
		after_2[i] = common_at(&t, 2);
		trace_close(&t);
	}
	assert_true(after_2[1] < after_2[0] - 0.03);
}

static void spread_makes_layers_differ(void **state)
{
	(void)state;
	double least[2], most[2];
	for (uint32_t i = 0; i < 2; i++) {
		sticky_config c = small;
		c.spread = i ? 0.2 : 0;
		least[i] = 1;
		most[i] = 0;
		trace t = make(&c);
		for (uint32_t layer = 0; layer < t.layers; layer++) {
			trace_statistics s;
			assert_int_equal(trace_measure(&t, layer, 1, &s), UFM_OK);
			least[i] = fmin(least[i], trace_overlap(&s));
			most[i] = fmax(most[i], trace_overlap(&s));
			trace_statistics_close(&s);
		}
		trace_close(&t);
	}
	assert_true(most[0] - least[0] < 0.2);
	assert_true(most[1] - least[1] > 0.25);
}

/* ---- what is refused */

static void wrong_configs(void **state)
{
	(void)state;
	static const struct {
		size_t offset;
		double value;
		const char *error;
	} numbers[] = {
		{offsetof(sticky_config, overlap), -0.1, "sticky overlap: found -0.1, expected 0 to 1"},
		{offsetof(sticky_config, overlap), NAN, "sticky overlap: found"},
		{offsetof(sticky_config, skew), 11, "sticky skew: found 11, expected 0 to 10"},
		{offsetof(sticky_config, drift), 1.5, "sticky drift: found 1.5, expected 0 to 1"},
		{offsetof(sticky_config, echo), 1, "sticky echo: found 1, expected 0 to 0.99"},
		{offsetof(sticky_config, spread), INFINITY, "sticky spread: found inf"},
	};
	trace t;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		sticky_config c = small;
		memcpy((char *)&c + numbers[i].offset, &numbers[i].value, sizeof(double));
		assert_error(trace_sticky(&c, &t), UFM_EINVAL, numbers[i].error);
		assert_null(t.ids);
	}
	sticky_config c = small;
	c.tokens = 0;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "sticky tokens: found 0");
	c = small;
	c.sequences = 4001;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "sequences: found 4001, expected 1 to 4000");
	c = small;
	c.layers = 0;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "sticky layers: found 0");
	c = small;
	c.experts = 65536;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "experts: found 65536, expected 1 to 65535");
	c = small;
	c.top_k = 33;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "sticky top_k: found 33, expected 1 to 32");
	/* Of four experts' sets of 32, chance alone keeps an eighth; of all experts it keeps all. */
	c = small;
	c.overlap = 0.05;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "sticky overlap: found 0.05, expected 0.1");
	c = small;
	c.top_k = 32;
	assert_error(trace_sticky(&c, &t), UFM_EINVAL, "expected 1.00 to 1.00, which top 32 of 32");
	assert_false(sticky_preset("gpt-oss-20", &c));
}

static bool refuse(void *ctx, size_t size_bytes)
{
	uint32_t *left = ctx;
	(void)size_bytes;
	return (*left)-- != 0;
}

static void each_allocation_fails(void **state)
{
	(void)state;
	sticky_config c = small;
	c.tokens = c.sequences = 1;
	c.layers = 1;
	trace t;
	uint32_t failed = 0;
	for (ufm_status status = UFM_ENOMEM; status != UFM_OK; failed++) {
		uint32_t left = failed;
		alloc_set_hook(refuse, &left);
		status = trace_sticky(&c, &t);
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || (status == UFM_ENOMEM && !t.ids));
	}
	assert_true(failed > 5);
	trace_close(&t);
}

/* ---- presets against the figures of ../shared/traces/README.md and docs/results/sticky-calibration */

static trace preset(const char *name)
{
	sticky_config c;
	assert_true(sticky_preset(name, &c));
	return make(&c);
}

static void expect_lru(const trace_statistics *s, uint32_t slots, double rate, double tolerance)
{
	char what[32];
	snprintf(what, sizeof what, "LRU at %u slots", slots);
	expect_near(what, trace_lru_hit_rate(s, slots), rate, tolerance);
}

/* Figures of all 307 sequences of the real trace. */
static void as_gpt_oss(void **state)
{
	(void)state;
	trace t = preset("gpt-oss-20b");
	trace_statistics s = measure(&t);
	expect_near("overlap", trace_overlap(&s), 0.436, 0.012);
	expect_lru(&s, 8, 0.648, 0.015);
	expect_lru(&s, 12, 0.799, 0.015);
	expect_lru(&s, 16, 0.896, 0.015);
	expect_lru(&s, 24, 0.980, 0.01);
	expect_near("again after 2", trace_distance_share(&s, 2), 0.567, 0.015);
	expect_near("again after 4", trace_distance_share(&s, 4), 0.715, 0.015);
	expect_near("again after 16", trace_distance_share(&s, 16), 0.928, 0.015);
	expect_near("again after 64", trace_distance_share(&s, 64), 0.986, 0.01);
	trace_statistics_close(&s);
	trace_close(&t);
}

/* Each use an event of its own: LRU then evicts members of the set that is being looked up. */
static trace single_uses(const trace *t)
{
	trace s = *t;
	s.tokens = t->tokens * t->ranks;
	s.ranks = s.sequences = 1;
	s.ids = alloc_zeroed(s.tokens * s.layers, sizeof *s.ids);
	s.starts = alloc_zeroed(2, sizeof *s.starts);
	assert_true(s.ids && s.starts);
	s.starts[1] = s.tokens;
	for (uint64_t i = 0; i < s.tokens; i++)
		for (uint32_t layer = 0; layer < s.layers; layer++)
			s.ids[i * s.layers + layer] = trace_event(t, i / t->ranks, layer)[i % t->ranks];
	return s;
}

/* LRU at 8 of 64 gives less than the overlap of sets of 8: that is LRU over single uses. */
static void as_olmoe(void **state)
{
	(void)state;
	trace t = preset("olmoe-1b-7b"), single = single_uses(&t);
	trace_statistics s = measure(&t), of_single = measure(&single);
	expect_near("overlap", trace_overlap(&s), 0.41, 0.015);
	expect_lru(&of_single, 8, 0.277, 0.015);
	expect_lru(&of_single, 16, 0.537, 0.015);
	expect_lru(&of_single, 24, 0.684, 0.015);
	expect_lru(&of_single, 32, 0.794, 0.015);
	trace_statistics_close(&s);
	trace_statistics_close(&of_single);
	trace_close(&t);
	trace_close(&single);
}

static void as_qwen3(void **state)
{
	(void)state;
	trace t = preset("qwen3-30b-a3b");
	trace_statistics s = measure(&t);
	expect_near("again at the next token", trace_distance_share(&s, 1), 0.45, 0.015);
	assert_true(trace_distance_share(&s, 1) < 0.5 && trace_distance_share(&s, 2) > 0.5);
	expect_lru(&s, 51, 0.925, 0.025);
	trace_statistics_close(&s);
	trace_close(&t);
}

static void as_512_experts(void **state)
{
	(void)state;
	trace t = preset("512-top-10");
	trace_statistics s = measure(&t);
	expect_lru(&s, 93, 0.435, 0.02);
	expect_lru(&s, 186, 0.620, 0.04);
	expect_lru(&s, 279, 0.720, 0.02);
	expect_lru(&s, 372, 0.789, 0.02);
	trace_statistics_close(&s);
	trace_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(awkward_shapes),
		cmocka_unit_test(equal_seeds_give_equal_traces),
		cmocka_unit_test(overlap_is_what_was_asked),
		cmocka_unit_test(skew_makes_some_popular),
		cmocka_unit_test(drift_and_echo_make_sets_age),
		cmocka_unit_test(spread_makes_layers_differ),
		cmocka_unit_test(wrong_configs),
		cmocka_unit_test(each_allocation_fails),
		cmocka_unit_test(as_gpt_oss),
		cmocka_unit_test(as_olmoe),
		cmocka_unit_test(as_qwen3),
		cmocka_unit_test(as_512_experts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
