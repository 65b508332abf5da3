/* SPDX-License-Identifier: MIT */
/* The benchmark's workloads: repeatable, never the same batch twice, and following their source. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/npy.h"
#include "base/rng.h"
#include "cli/bench/workload_int.h"

enum { D_MODEL = 64, TOKENS = 8 };

static workload *open_spec(const char *spec, uint32_t layers, uint32_t experts_min)
{
	workload *w = NULL;
	workload_config config = {.spec = spec,
	                          .seed = 7,
	                          .d_model = D_MODEL,
	                          .layers = layers,
	                          .tokens = TOKENS,
	                          .experts_min = experts_min};
	if (workload_open(&config, &w) != UFM_OK)
		fail_msg("%s: %s", spec, ufm_last_error());
	return w;
}

/* "kind:/tmp/….npy" of a new file with this content. */
static char *with_file(const char *kind, const void *content, size_t size)
{
	static char spec[96];
	char path[] = "/tmp/ufm-workload-XXXXXX.npy";
	int file = mkstemps(path, 4);
	assert_true(file >= 0);
	assert_int_equal(write(file, content, size), (ssize_t)size);
	close(file);
	snprintf(spec, sizeof spec, "%s:%s", kind, path);
	return spec;
}

static void drop_file(const char *spec)
{
	unlink(strchr(spec, ':') + 1);
}

static void take(workload *w, uint64_t step, float *x)
{
	workload_batch batch;
	workload_step(w, step, &batch);
	memcpy(x, batch.x, sizeof(float) * TOKENS * D_MODEL);
}

static bool same(const float *a, const float *b, size_t count)
{
	return memcmp(a, b, count * sizeof *a) == 0;
}

static float x0[TOKENS * D_MODEL], x1[TOKENS * D_MODEL], again[TOKENS * D_MODEL];

static void check_steps(const char *spec)
{
	workload *w = open_spec(spec, 1, 8);
	take(w, 0, x0);
	for (uint64_t step = 1; step < 6; step++) {
		take(w, step, x1);
		if (same(x0, x1, TOKENS * D_MODEL))
			fail_msg("%s: step %d is step 0", spec, (int)step);
	}
	take(w, 0, again);
	assert_true(same(x0, again, TOKENS * D_MODEL));
	workload_close(w);
}

static void test_steps_differ_and_repeat(void **unused)
{
	(void)unused;
	check_steps("uniform");
	check_steps("zipf:1.1");
	char *spec = with_file("text", "same same", 9);
	check_steps(spec);
	drop_file(spec);
}

static double dot(const float *a, const float *b)
{
	double sum = 0;
	for (int i = 0; i < D_MODEL; i++)
		sum += (double)a[i] * b[i];
	return sum / D_MODEL;
}

/* Equal words are near each other, different words are not. */
static void test_words(void **unused)
{
	(void)unused;
	char *spec = with_file("text", "Cat, dog 42!cat(cat)", 20);
	workload *w = open_spec(spec, 1, 8);
	/* cat , dog 42 ! cat ( cat ) and from the start again, one later */
	take(w, 0, x0);
	assert_true(dot(x0, x0 + 5 * D_MODEL) > 0.6);
	assert_true(dot(x0, x0 + 7 * D_MODEL) > 0.6);
	for (int i = 1; i < 5; i++)
		assert_true(dot(x0, x0 + i * D_MODEL) < 0.6);
	take(w, 1, x1);
	assert_true(dot(x0 + 1 * D_MODEL, x1 + 1 * D_MODEL) > 0.6); /* position 9 is word 1 */
	assert_false(workload_wraps(w, 1));
	assert_true(workload_wraps(w, 2));
	workload_close(w);
	drop_file(spec);
}

/* In decode the sequences lie apart in the source, and each goes on by one token a step. */
static void test_decode_interleaves(void **unused)
{
	(void)unused;
	enum { SEQUENCES = 4, LENGTH = 10 };
	char text[LENGTH * 3];
	for (int i = 0; i < LENGTH; i++)
		memcpy(text + 3 * i, (char[]){(char)('a' + i), (char)('a' + i), ' '}, 3);
	char *spec = with_file("text", text, sizeof text);
	workload_config config = {.spec = spec,
	                          .seed = 7,
	                          .d_model = D_MODEL,
	                          .layers = 1,
	                          .tokens = SEQUENCES,
	                          .sequences = SEQUENCES,
	                          .experts_min = 8};
	workload *decode = NULL, *plain = open_spec(spec, 1, 8);
	assert_int_equal(workload_open(&config, &decode), UFM_OK);
	static float words[2 * TOKENS * D_MODEL]; /* of the text, then of its second reading */
	take(plain, 0, words);
	take(plain, 1, words + (size_t)TOKENS * D_MODEL);
	for (uint64_t step = 0; step < 3; step++) {
		workload_batch batch;
		workload_step(decode, step, &batch);
		for (int i = 0; i < SEQUENCES; i++) {
			int word_index = i * LENGTH / SEQUENCES + (int)step;
			for (int j = 0; j < LENGTH; j++) {
				double near = dot(batch.x + i * D_MODEL, words + j * D_MODEL);
				assert_true(j == word_index ? near > 0.6 : near < 0.6);
			}
		}
	}
	assert_false(workload_wraps(decode, 2));
	assert_true(workload_wraps(decode, 3));
	workload_close(plain);
	workload_close(decode);
	drop_file(spec);
}

static void test_uniform_is_gaussian(void **unused)
{
	(void)unused;
	workload *w = open_spec("uniform", 1, 8);
	double sum = 0, squares = 0;
	enum { STEPS = 40 };
	for (uint64_t step = 0; step < STEPS; step++) {
		take(w, step, x0);
		for (int i = 0; i < TOKENS * D_MODEL; i++) {
			sum += x0[i];
			squares += (double)x0[i] * x0[i];
		}
	}
	double n = (double)STEPS * TOKENS * D_MODEL;
	assert_true(sum / n > -0.05 && sum / n < 0.05);
	assert_true(squares / n > 0.95 && squares / n < 1.05);
	double expected = workload_expected_experts(w, 4);
	assert_true(expected > 3.98 && expected < 3.99); /* 4 (1 - (1/2)^8) */
	workload_close(w);
}

static void test_zipf_shares(void **unused)
{
	(void)unused;
	zipf z;
	assert_int_equal(zipf_open(1.0, &z), UFM_OK);
	assert_int_equal(zipf_word(&z, 0), 0);
	assert_int_equal(zipf_word(&z, 0.99999999999), ZIPF_WORDS - 1);
	double first = z.cumulative[0], second = z.cumulative[1] - z.cumulative[0];
	assert_true(first / second > 1.999 && first / second < 2.001);
	for (uint32_t i = 1; i < ZIPF_WORDS; i++)
		assert_true(z.cumulative[i] > z.cumulative[i - 1]);
	assert_int_equal(zipf_word(&z, first), 1);
	zipf_close(&z);
}

enum { LENGTH = 5, LAYERS = 3, RANKS = 2 };

/* A trace of 8 experts, whose ids are all different ones of each token and layer. */
static char *with_trace(int32_t *ids, uint64_t tokens)
{
	const uint64_t shape[] = {tokens, LAYERS, RANKS};
	for (uint64_t i = 0; i < tokens * LAYERS * RANKS; i++)
		ids[i] = (int32_t)((i + i / 16) % 8);
	char *spec = with_file("trace", "", 0);
	assert_int_equal(npy_write(strchr(spec, ':') + 1, NPY_I32, 3, shape, ids), UFM_OK);
	return spec;
}

static workload *open_trace(const char *spec, uint32_t d_model, uint32_t tokens, bool ahead)
{
	workload *w = NULL;
	workload_config config = {.spec = spec,
	                          .seed = 7,
	                          .d_model = d_model,
	                          .layers = LAYERS,
	                          .tokens = tokens,
	                          .experts_min = 8,
	                          .ids_ahead = ahead};
	if (workload_open(&config, &w) != UFM_OK)
		fail_msg("%s: %s", spec, ufm_last_error());
	return w;
}

static void test_trace(void **unused)
{
	(void)unused;
	int32_t ids[LENGTH * LAYERS * RANKS];
	char *spec = with_trace(ids, LENGTH);
	workload *w = open_trace(spec, D_MODEL, TOKENS, true);
	assert_int_equal(workload_top_k(w), RANKS);
	assert_true(workload_routes(w) && !workload_steers(w));
	for (uint64_t step = 0; step < 3; step++) {
		workload_batch batch;
		workload_step(w, step, &batch);
		assert_null(batch.chosen);
		for (uint32_t t = 0; t < TOKENS; t++) {
			uint64_t p = step * TOKENS + t, token = (p + p / LENGTH) % LENGTH;
			for (uint32_t layer = 0; layer < LAYERS; layer++)
				for (uint32_t j = 0; j < RANKS; j++)
					assert_int_equal(batch.ids[(layer * TOKENS + t) * RANKS + j],
					                 ids[(token * LAYERS + layer) * RANKS + j]);
			assert_true(batch.gates[t * RANKS] > 0.499f && batch.gates[t * RANKS] < 0.501f);
		}
	}
	workload_close(w);
	drop_file(spec);
}

/* The best of 8 experts that is not `besides`. */
static int32_t best(const double *logits, int32_t besides)
{
	int32_t at = besides == 0;
	for (int32_t e = 0; e < 8; e++)
		if (e != besides && logits[e] > logits[at])
			at = e;
	return at;
}

/* Routes as a layer does, and compares ranks; other elements of x come and go with the layers before. */
static void check_token(const float *x, const float *norm, const float *weights, uint32_t d_model,
                        const int32_t *chosen)
{
	double squares = 0, logits[8] = {0};
	for (uint32_t c = 0; c < d_model; c++)
		squares += (double)x[c] * x[c] / d_model;
	for (uint32_t e = 0; e < 8; e++)
		for (uint32_t c = 0; c < d_model; c++)
			logits[e] += x[c] / sqrt(squares) * norm[c] * weights[e * d_model + c];
	int32_t first = best(logits, -1), second = best(logits, first);
	assert_int_equal(first, chosen[0]);
	assert_int_equal(second, chosen[1]);
	double gate = 1 / (1 + exp(logits[second] - logits[first]));
	assert_true(gate > 0.5 && gate < 0.6);
	for (int32_t e = 0; e < 8; e++)
		assert_true(e == first || e == second || logits[e] < logits[second] - 20);
}

static void check_steered(const char *spec, const int32_t *ids, uint64_t length, uint32_t d_model,
                          uint32_t tokens)
{
	static float norm[64], weights[8 * 64];
	uint64_t window_steps = d_model > tokens ? d_model / tokens : 1;
	workload *w = open_trace(spec, d_model, tokens, false);
	assert_true(workload_steers(w) && !workload_routes(w));
	rng_fill_f32(norm, d_model, 3, 0, 0.1f);
	for (uint32_t c = 0; c < d_model; c++)
		norm[c] += 1;
	for (uint64_t step = 0; step < 3 * window_steps + 1; step++) {
		workload_batch batch;
		workload_step(w, step, &batch);
		assert_true(!batch.ids && !batch.gates && batch.window == step / window_steps);
		for (uint32_t layer = 0; layer < LAYERS; layer++) {
			workload_router(w, batch.window, layer, norm, 8, weights);
			for (uint32_t t = 0; t < tokens; t++) {
				uint64_t p = step * tokens + t % d_model, token = (p + p / length) % length;
				const int32_t *chosen = batch.chosen + (layer * tokens + t) * RANKS;
				assert_memory_equal(chosen, ids + (token * LAYERS + layer) * RANKS,
				                    RANKS * sizeof *ids);
				check_token(batch.x + t * d_model, norm, weights, d_model, chosen);
			}
		}
	}
	workload_close(w);
}

/* Steps that share a window, fill it, do not divide it, and have more tokens than there are columns. */
static void test_routers_choose_what_the_trace_says(void **unused)
{
	(void)unused;
	static int32_t ids[97 * LAYERS * RANKS];
	static const struct {
		uint32_t d_model, tokens;
	} cases[] = {{64, 1}, {64, 8}, {64, 3}, {64, 64}, {64, 150}, {7, 2}, {1, 1}, {1, 3}};
	char *spec = with_trace(ids, 97);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check_steered(spec, ids, 97, cases[i].d_model, cases[i].tokens);
	drop_file(spec);
}

static void test_which_specs_route(void **unused)
{
	(void)unused;
	assert_true(workload_spec_routes("trace:x") && workload_spec_routes("sticky:0.5,1,0"));
	assert_false(workload_spec_routes("uniform") || workload_spec_routes("text:trace:x") ||
	             workload_spec_routes("zipf:1") || workload_spec_routes("trace:"));
}

/* Mean share of a token's experts in layer 0 that lane i had a step before. */
static double kept(workload *w, uint32_t top_k, uint32_t steps, uint32_t experts)
{
	int32_t before[TOKENS * 8];
	uint32_t found = 0;
	for (uint64_t step = 0; step < steps; step++) {
		workload_batch batch;
		workload_step(w, step, &batch);
		for (uint32_t i = 0; i < TOKENS * top_k; i++) {
			assert_in_range(batch.ids[i], 0, experts - 1);
			for (uint32_t j = i / top_k * top_k; step && j < (i / top_k + 1) * top_k; j++)
				found += batch.ids[i] == before[j];
		}
		memcpy(before, batch.ids, TOKENS * top_k * sizeof *before);
	}
	return (double)found / ((steps - 1) * TOKENS * top_k);
}

/* In decode each lane is a sequence of its own; the router knows all experts of a run's bank. */
static void test_sticky(void **unused)
{
	(void)unused;
	workload *w = NULL;
	workload_config config = {.spec = "sticky:gpt-oss-20b",
	                          .seed = 7,
	                          .d_model = D_MODEL,
	                          .layers = 2,
	                          .tokens = TOKENS,
	                          .sequences = TOKENS,
	                          .experts_min = 32,
	                          .ids_ahead = true};
	assert_int_equal(workload_open(&config, &w), UFM_OK);
	assert_int_equal(workload_top_k(w), 4);
	assert_string_equal(workload_top_k_origin(w), "of the router's preset");
	assert_true(workload_routes(w));
	assert_false(workload_wraps(w, 2));
	assert_true(workload_wraps(w, 1 << 20));
	double share = kept(w, 4, 100, 32);
	assert_true(share > 0.3 && share < 0.55);
	assert_int_equal(workload_for_experts(w, 64), UFM_OK);
	workload_batch batch;
	uint32_t above = 0;
	for (uint64_t step = 0; step < 50; step++) {
		workload_step(w, step, &batch);
		for (uint32_t i = 0; i < TOKENS * 4 * 2; i++)
			above += batch.ids[i] >= 32;
	}
	assert_true(above > 50 * TOKENS * 2);
	workload_close(w);
	config.spec = "sticky:0.05,0,0";
	assert_int_equal(workload_open(&config, &w), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "--workload: sticky overlap: found 0.05"));
}

static void test_wrong_specs(void **unused)
{
	(void)unused;
	static const char *const wrong[] = {"",
	                                    "text",
	                                    "text:",
	                                    "trace:",
	                                    "zipf",
	                                    "zipf:",
	                                    "zipf:0",
	                                    "zipf:-1",
	                                    "zipf:x",
	                                    "zipf:nan",
	                                    "zipf:11",
	                                    "Uniform",
	                                    "uniform:1",
	                                    "sticky",
	                                    "sticky:",
	                                    "sticky:gpt",
	                                    "sticky:0.5",
	                                    "sticky:0.5,1",
	                                    "sticky:0.5,1,0,",
	                                    "sticky:1.1,1,0",
	                                    "sticky:0.5,nan,0",
	                                    "sticky:0.5,,0",
	                                    "sticky:0.5,1,-0.1",
	                                    "sticky:0x1,1,0"};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (workload_check_spec(wrong[i]) != UFM_EINVAL)
			fail_msg("'%s' was accepted", wrong[i]);
	assert_int_equal(workload_check_spec("zipf:1.25"), UFM_OK);
	assert_int_equal(workload_check_spec("text:a file"), UFM_OK);
	assert_int_equal(workload_check_spec("sticky:0.5,0,1e-2"), UFM_OK);
	assert_int_equal(workload_check_spec("sticky:512-top-10"), UFM_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps_differ_and_repeat),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_decode_interleaves),
		cmocka_unit_test(test_uniform_is_gaussian),
		cmocka_unit_test(test_zipf_shares),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_routers_choose_what_the_trace_says),
		cmocka_unit_test(test_which_specs_route),
		cmocka_unit_test(test_sticky),
		cmocka_unit_test(test_wrong_specs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
