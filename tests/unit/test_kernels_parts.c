/* SPDX-License-Identifier: MIT */
/* Activations, norm, weighted sum and top-k of every kernel table; and the choice among tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "support/arithmetic.h"
#include "support/kernel_tables.h"

static uint64_t seed;

/* ------------------------------------------------------------------ activations */

#define POINTS 4096

/* Hidden values of given sums: biases, for the weights are zeros. gate NULL: there is none. */
static void hidden_of(const kernel_table *k, ufm_expert_desc desc, const float *gate,
                      const float *up, float *y, uint32_t count)
{
	_Alignas(64) static float block[3 * POINTS];
	const float none[1] = {0.0f};

	assert_true(count <= POINTS);
	desc.d_model = 1;
	desc.d_hidden = count;
	desc.part_count = gate ? 4 : 2;
	desc.parts[0] = (ufm_part){
		.role = UFM_ROLE_UP, .dtype = UFM_F32, .rows = count, .cols = 1, .offset_bytes = 0};
	desc.parts[1] = (ufm_part){.role = UFM_ROLE_UP_BIAS,
	                           .dtype = UFM_F32,
	                           .rows = count,
	                           .cols = 1,
	                           .offset_bytes = sizeof(float[POINTS])};
	desc.parts[2] = (ufm_part){
		.role = UFM_ROLE_GATE, .dtype = UFM_F32, .rows = count, .cols = 1, .offset_bytes = 0};
	desc.parts[3] = (ufm_part){.role = UFM_ROLE_GATE_BIAS,
	                           .dtype = UFM_F32,
	                           .rows = count,
	                           .cols = 1,
	                           .offset_bytes = sizeof(float[2 * POINTS])};
	memcpy(block + POINTS, up, count * sizeof *up);
	if (gate)
		memcpy(block + 2 * POINTS, gate, count * sizeof *gate);
	k->hidden(&desc, block, none, 1, y, 0, count);
}

static void activate(const kernel_table *k, ufm_activation activation, float alpha, const float *x,
                     float *y, uint32_t count)
{
	ufm_expert_desc desc = {.activation = activation, .act_alpha = alpha};

	hidden_of(k, desc, NULL, x, y, count);
}

static void check_activation(const kernel_table *k, ufm_activation activation, float alpha,
                             float low, float high)
{
	static float x[POINTS], y[POINTS];

	for (uint32_t i = 0; i < POINTS; i++)
		x[i] = low + (high - low) * 0.5f * (rng_at(seed, i) + 1.0f);
	activate(k, activation, alpha, x, y, POINTS);
	for (uint32_t i = 0; i < POINTS; i++) {
		double ref = arithmetic_activation(activation, (double)alpha, (double)x[i]);
		if (!(fabs((double)y[i] - ref) <= 1e-6 * fabs(ref)))
			fail_msg("%s: activation %d (%g) of %.9g is %.9g, expected %.9g, seed %llu", k->isa,
			         (int)activation, (double)alpha, (double)x[i], (double)y[i], ref,
			         (unsigned long long)seed);
	}
}

static void test_activation_is_relatively_exact(void **state)
{
	const kernel_table *k = table_of(state);

	check_activation(k, UFM_ACT_GELU, 0, -12.5f, 10.0f);
	check_activation(k, UFM_ACT_GELU, 0, -1.0f, 1.0f);
	check_activation(k, UFM_ACT_GELU, 0, -1e-3f, 1e-3f);
	check_activation(k, UFM_ACT_SILU, 0, -80.0f, 30.0f);
	check_activation(k, UFM_ACT_SILU, 0, -1.0f, 1.0f);
	check_activation(k, UFM_ACT_SILU, 1.702f, -50.0f, 30.0f);
	check_activation(k, UFM_ACT_SILU, 1.702f, -1.0f, 1.0f);
	check_activation(k, UFM_ACT_SILU, 0.01f, -8000.0f, 3000.0f);
	check_activation(k, UFM_ACT_SILU, 3e8f, -2e-7f, 1e-7f);
	check_activation(k, UFM_ACT_GELU_TANH, 0, -9.9f, 10.0f);
	check_activation(k, UFM_ACT_GELU_TANH, 0, -1.0f, 1.0f);
	check_activation(k, UFM_ACT_GELU_TANH, 0, -1e-3f, 1e-3f);
	check_activation(k, UFM_ACT_RELU2, 0, -1e3f, 1e3f);
	check_activation(k, UFM_ACT_RELU2, 0, -1e-3f, 1e-3f);
}

static void test_activation_extremes(void **state)
{
	const kernel_table *k = table_of(state);
	const float x[6] = {0.0f, -1e30f, 1e30f, -200.0f, INFINITY, NAN};
	const struct {
		ufm_activation activation;
		float alpha;
	} acts[] = {{UFM_ACT_GELU, 0},     {UFM_ACT_SILU, 0},      {UFM_ACT_SILU, 1.702f},
	            {UFM_ACT_SILU, 3e38f}, {UFM_ACT_GELU_TANH, 0}, {UFM_ACT_RELU2, 0}};
	float y[6];

	for (size_t a = 0; a < sizeof acts / sizeof acts[0]; a++) {
		activate(k, acts[a].activation, acts[a].alpha, x, y, 6);
		assert_true(y[0] == 0.0f && y[1] == 0.0f && y[3] == 0.0f);
		assert_true(acts[a].activation == UFM_ACT_RELU2 ? isinf(y[2]) : y[2] == 1e30f);
		assert_true(isinf(y[4]) && isnan(y[5]));
	}
}

static void check_limited(const kernel_table *k, ufm_expert_desc desc, const float *gate,
                          const float *up, const float *expected, uint32_t count)
{
	float y[8];

	assert_true(count <= 8);
	hidden_of(k, desc, gate, up, y, count);
	for (uint32_t i = 0; i < count; i++)
		assert_true(isnan(expected[i]) ? isnan(y[i]) : y[i] == expected[i]);
}

/* At the limits, beyond them, and of what is no number. */
static void test_limits(void **state)
{
	const kernel_table *k = table_of(state);
	const float x[8] = {-INFINITY, -3.0f, -2.0f, 1.0f, 2.0f, 3.0f, INFINITY, NAN};
	const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
	const float before[8] = {0, 0, 0, 1.0f, 4.0f, 4.0f, 4.0f, NAN};
	const float after[8] = {0, 0, 0, 1.0f, 3.0f, 3.0f, 3.0f, NAN};
	const float inside[8] = {-2.0f, -2.0f, -2.0f, 1.0f, 2.0f, 2.0f, 2.0f, NAN};
	const float shifted[8] = {-1.5f, -1.5f, -1.5f, 1.5f, 2.5f, 2.5f, 2.5f, NAN};
	ufm_expert_desc desc = {.activation = UFM_ACT_RELU2, .gate_limit = 2.0f};

	check_limited(k, desc, x, ones, before, 8);
	desc = (ufm_expert_desc){.activation = UFM_ACT_RELU2, .activated_limit = 3.0f};
	check_limited(k, desc, x, ones, after, 8);
	desc = (ufm_expert_desc){.activation = UFM_ACT_RELU2, .up_limit = 2.0f};
	check_limited(k, desc, ones, x, inside, 8);
	desc.up_offset = 0.5f;
	check_limited(k, desc, ones, x, shifted, 8);
}

/* ------------------------------------------------------------------ norm and weighted sum */

static void test_rms_norm(void **state)
{
	const kernel_table *k = table_of(state);
	static const uint32_t sizes[] = {1, 3, 15, 16, 17, 64, 200, 1023};
	float x[1023], w[1023], y[1023];

	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		uint32_t d = sizes[s];
		double squares = 0.0;
		rng_fill_f32(x, d, seed + s, 0, 3.0f);
		rng_fill_f32(w, d, seed + s, d, 1.0f);
		for (uint32_t i = 0; i < d; i++)
			squares += (double)x[i] * (double)x[i];
		double scale = 1.0 / sqrt(squares / d + 1e-6);
		k->rms_norm(x, w, 1e-6f, d, y);
		for (uint32_t i = 0; i < d; i++)
			assert_true(fabs((double)y[i] - (double)x[i] * scale * (double)w[i]) <= 3e-6);
		k->rms_norm(x, w, 1e-6f, d, x);
		assert_memory_equal(x, y, d * sizeof(float));
		k->rms_norm(x, NULL, 1e-6f, d, w);
		assert_memory_equal(w, y, d * sizeof(float));
	}
}

static void test_accumulate_rounds_twice(void **state)
{
	const kernel_table *k = table_of(state);
	float acc[103], row[103], expected[103];

	for (uint32_t d = 0; d <= 103; d++) {
		rng_fill_f32(acc, d, seed, 0, 1.0f);
		rng_fill_f32(row, d, seed + 1, 0, 1.0f);
		if (d) {
			/* The exact product is 1 + 2^-11 + 2^-24: fused, the last term would survive. */
			acc[d - 1] = -(1.0f + 0x1p-11f);
			row[d - 1] = 1.0f + 0x1p-12f;
		}
		for (uint32_t i = 0; i < d; i++) {
			volatile float product = (1.0f + 0x1p-12f) * row[i];
			expected[i] = acc[i] + product;
		}
		k->accumulate(acc, 1.0f + 0x1p-12f, row, d);
		assert_memory_equal(acc, expected, d * sizeof(float));
		assert_true(!d || acc[d - 1] == 0.0f);
	}
}

/* ------------------------------------------------------------------ top-k */

static void test_top_k_small(void **state)
{
	(void)state;
	float logits[4] = {0.0f, 2.0f, 1.0f, -1.0f}, gates[2];
	int32_t ids[2];

	kernels_top_k(logits, 4, UFM_SCORE_SOFTMAX, 2, 0, ids, gates);
	double sum = 1.0 + exp(2.0) + exp(1.0) + exp(-1.0);
	assert_int_equal(ids[0], 1);
	assert_int_equal(ids[1], 2);
	assert_true(fabs((double)gates[0] - exp(2.0) / sum) < 1e-6);
	assert_true(fabs((double)gates[1] - exp(1.0) / sum) < 1e-6);
}

static void test_top_k_ties_go_to_the_lower_id(void **state)
{
	(void)state;
	float logits[6] = {1.0f, 3.0f, 3.0f, 1.0f, 3.0f, 1.0f}, gates[5];
	const int32_t expected[5] = {1, 2, 4, 0, 3};
	int32_t ids[5];

	kernels_top_k(logits, 6, UFM_SCORE_SOFTMAX, 5, 0, ids, gates);
	assert_memory_equal(ids, expected, sizeof expected);
	assert_true(gates[0] == gates[2] && gates[3] == gates[4]);
}

static void test_top_k_renormalises(void **state)
{
	(void)state;
	float logits[3] = {100.0f, -5.0f, 101.0f}, gates[2];
	int32_t ids[2];

	kernels_top_k(logits, 3, UFM_SCORE_SOFTMAX, 2, 1, ids, gates);
	assert_int_equal(ids[0], 2);
	assert_int_equal(ids[1], 0);
	assert_true(fabs((double)gates[0] + (double)gates[1] - 1.0) < 1e-6);
	assert_true(fabs((double)gates[0] - 1.0 / (1.0 + exp(-1.0))) < 1e-6);

	float one[1] = {-7.0f};
	kernels_top_k(one, 1, UFM_SCORE_SOFTMAX, 1, 1, ids, gates);
	assert_int_equal(ids[0], 0);
	assert_true(gates[0] == 1.0f);
}

static void test_top_k_nan_comes_last(void **state)
{
	(void)state;
	float logits[5] = {NAN, -3.0f, NAN, 4.0f, -INFINITY}, gates[5];
	const int32_t expected[5] = {3, 1, 4, 0, 2};
	int32_t ids[5];

	kernels_top_k(logits, 5, UFM_SCORE_SOFTMAX, 5, 0, ids, gates);
	assert_memory_equal(ids, expected, sizeof expected);
	assert_true(fabs((double)gates[0] - 1.0 / (1.0 + exp(-7.0))) < 1e-6);
	assert_true(gates[2] == 0.0f && isnan(gates[3]) && isnan(gates[4]));
}

/* Against a selection by repeated search, all k of a range of sizes, with many ties. */
static void test_top_k_against_search(void **state)
{
	(void)state;
	static const uint32_t sizes[] = {1, 2, 3, 8, 33, 200};
	float logits[200], kept[200], gates[200];
	int32_t ids[200];
	rng r;

	rng_seed(&r, seed);
	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		for (uint32_t k = 1; k <= sizes[s]; k += 1 + sizes[s] / 20) {
			bool taken[200] = {false};
			for (uint32_t e = 0; e < sizes[s]; e++)
				kept[e] = logits[e] = 0.5f * (float)rng_below(&r, 12);
			kernels_top_k(logits, sizes[s], UFM_SCORE_SOFTMAX, k, 0, ids, gates);
			for (uint32_t j = 0; j < k; j++) {
				uint32_t best = UINT32_MAX;
				for (uint32_t e = 0; e < sizes[s]; e++) {
					if (!taken[e] && (best == UINT32_MAX || kept[e] > kept[best]))
						best = e;
				}
				taken[best] = true;
				assert_int_equal(ids[j], best);
			}
		}
	}
}

/* ------------------------------------------------------------------ choice */

static void test_find(void **state)
{
	(void)state;
	const char *why = NULL;

	assert_null(kernels_find("sse9", &why));
	assert_non_null(strstr(why, "unknown name"));
	assert_null(kernels_find("sse9", NULL));
	assert_string_equal(kernels_find("scalar", NULL)->isa, "scalar");
	for (uint32_t i = 0; kernels_name(i); i++) {
		const kernel_table *k = kernels_find(kernels_name(i), &why);
		assert_true(k ? strcmp(k->isa, kernels_name(i)) == 0 : why[0] != '\0');
	}
	assert_null(kernels_name(4));
	assert_null(kernels_name(UINT32_MAX));
}

static uint32_t warnings;

static void count_warning(void *ctx, ufm_log_level level, const char *line)
{
	(void)ctx;
	warnings += level == UFM_LOG_WARN && strstr(line, "UFM_KERNELS=sse9") != NULL;
}

static void test_environment_overrides(void **state)
{
	(void)state;
	const char *isa = "scalar";

	for (uint32_t i = 0; kernels_name(i); i++)
		isa = kernels_find(kernels_name(i), NULL) ? kernels_name(i) : isa;
	const char *few = strcmp(isa, "amx") == 0 ? "avx512" : isa;
	unsetenv("UFM_KERNELS");
	assert_string_equal(kernels_best()->isa, isa);
	assert_string_equal(kernels_best_few()->isa, few);
	setenv("UFM_KERNELS", "", 1);
	assert_string_equal(kernels_best()->isa, isa);
	setenv("UFM_KERNELS", "scalar", 1);
	assert_string_equal(kernels_best()->isa, "scalar");
	assert_string_equal(kernels_best_few()->isa, "scalar");
	setenv("UFM_KERNELS", isa, 1);
	assert_string_equal(kernels_best_few()->isa, isa);
	setenv("UFM_KERNELS", "sse9", 1);
	assert_string_equal(kernels_best_few()->isa, few);
	assert_int_equal(warnings, 0);
	ufm_set_log(count_warning, NULL);
	assert_string_equal(kernels_best()->isa, isa);
	assert_int_equal(warnings, 1);
	ufm_set_log(NULL, NULL);
	unsetenv("UFM_KERNELS");
}

static void test_top_k_sigmoid(void **state)
{
	(void)state;
	float logits[4] = {0.0f, 2.0f, -1000.0f, 1000.0f}, gates[4];
	int32_t ids[4];

	kernels_top_k(logits, 4, UFM_SCORE_SIGMOID, 4, 0, ids, gates);
	assert_int_equal(ids[0], 3);
	assert_int_equal(ids[1], 1);
	assert_int_equal(ids[2], 0);
	assert_int_equal(ids[3], 2);
	assert_true(gates[0] == 1.0f && gates[2] == 0.5f && gates[3] == 0.0f);
	assert_true(fabsf(gates[1] - 0.880797f) < 1e-6f);
}

static void test_top_k_all_zero(void **state)
{
	(void)state;
	float logits[4] = {-1000.0f, -2000.0f, -INFINITY, -500.0f}, gates[2];
	int32_t ids[2];

	kernels_top_k(logits, 4, UFM_SCORE_SIGMOID, 2, 1, ids, gates);
	assert_int_equal(ids[0], 0);
	assert_int_equal(ids[1], 1);
	assert_true(gates[0] == 0.0f && gates[1] == 0.0f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOR_TABLES(test_activation_is_relatively_exact),
		FOR_TABLES(test_activation_extremes),
		FOR_TABLES(test_limits),
		FOR_TABLES(test_rms_norm),
		FOR_TABLES(test_accumulate_rounds_twice),
		cmocka_unit_test(test_top_k_small),
		cmocka_unit_test(test_top_k_ties_go_to_the_lower_id),
		cmocka_unit_test(test_top_k_renormalises),
		cmocka_unit_test(test_top_k_sigmoid),
		cmocka_unit_test(test_top_k_all_zero),
		cmocka_unit_test(test_top_k_nan_comes_last),
		cmocka_unit_test(test_top_k_against_search),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_environment_overrides),
	};

	seed = rng_mix((uint64_t)time(NULL), 2);
	print_message("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
