/* SPDX-License-Identifier: MIT */
/* Every kernel table that this CPU has, against float64 and against itself cut into other pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/bf16.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "support/arithmetic.h"
#include "support/expert_sample.h"
#include "support/kernel_tables.h"

static uint64_t base_seed;

typedef expert_sample sample;

static void sample_init(sample *s, ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                        uint32_t d_hidden, uint32_t tokens)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	assert_int_equal(ufm_expert_desc_init(&desc, kind, d_model, d_hidden, dtype), UFM_OK);
	expert_sample_init(s, &desc, tokens, base_seed);
}

static void check_error(const char *isa, const char *what, const sample *s, const float *y,
                        const double *ref, size_t count, double scale)
{
	double e = expert_sample_error(y, ref, count, scale);

	if (!(e <= EXPERT_SAMPLE_TOLERANCE))
		fail_msg("%s: %s of %u x %u, %u tokens: error %g, seed %llu", isa, what, s->desc.d_model,
		         s->desc.d_hidden, s->tokens, e, (unsigned long long)base_seed);
}

/* ------------------------------------------------------------------ products */

static const uint32_t shapes[][2] = {{1, 1},   {1, 7},   {3, 2},   {5, 50},  {8, 16},   {15, 17},
                                     {16, 33}, {31, 97}, {33, 15}, {64, 48}, {100, 13}, {130, 61}};
static const uint32_t token_counts[] = {0, 1, 2, 5, 7, 16, 17, 33};

static void check_sample(const kernel_table *k, ufm_expert_kind kind, ufm_dtype dtype,
                         const uint32_t shape[2], uint32_t tokens)
{
	sample s;

	sample_init(&s, kind, dtype, shape[0], shape[1], tokens);
	expert_sample_reference(&s);
	k->hidden(&s.desc, s.block, s.x, tokens, s.hidden, 0, shape[1]);
	k->output(&s.desc, s.block, s.hidden, tokens, s.out, 0, shape[0]);
	check_error(k->isa, "hidden", &s, s.hidden, s.hidden_ref, (size_t)tokens * shape[1],
	            s.hidden_scale);
	check_error(k->isa, "output", &s, s.out, s.out_ref, (size_t)tokens * shape[0], s.out_scale);
	expert_sample_free(&s);
}

static void check_shapes(const kernel_table *k, ufm_expert_kind kind, ufm_dtype dtype)
{
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		for (size_t j = 0; j < sizeof token_counts / sizeof token_counts[0]; j++)
			check_sample(k, kind, dtype, shapes[i], token_counts[j]);
	}
	/* Long rows, so that a block is few rows; and more tokens than the gated path keeps at once. */
	check_sample(k, kind, dtype, (const uint32_t[2]){12289, 5}, 2);
	check_sample(k, kind, dtype, (const uint32_t[2]){20, 50}, 101);
}

/* Every piece of the result, computed alone, has the bits it had in the whole. Frees the sample. */
static void check_invariance(const kernel_table *k, sample s)
{
	rng r;

	rng_seed(&r, base_seed);
	float *hidden = alloc_zeroed(23 * 203, sizeof(float));
	float *out = alloc_zeroed(23 * 75, sizeof(float));
	k->hidden(&s.desc, s.block, s.x, 23, s.hidden, 0, 203);
	k->output(&s.desc, s.block, s.hidden, 23, s.out, 0, 75);
	for (int round = 0; round < 60; round++) {
		uint32_t first = rng_below(&r, 23), tokens = rng_below(&r, 24 - first);
		uint32_t hb = rng_below(&r, 203), he = hb + rng_below(&r, 204 - hb);
		uint32_t ob = rng_below(&r, 75), oe = ob + rng_below(&r, 76 - ob);
		k->hidden(&s.desc, s.block, s.x + first * 75, tokens, hidden, hb, he);
		k->output(&s.desc, s.block, s.hidden + first * 203, tokens, out, ob, oe);
		for (uint32_t t = 0; t < tokens; t++) {
			assert_memory_equal(hidden + t * 203 + hb, s.hidden + (first + t) * 203 + hb,
			                    (he - hb) * sizeof(float));
			assert_memory_equal(out + t * 75 + ob, s.out + (first + t) * 75 + ob,
			                    (oe - ob) * sizeof(float));
		}
	}
	alloc_free(hidden);
	alloc_free(out);
	expert_sample_free(&s);
}

static const struct {
	ufm_expert_kind kind;
	ufm_dtype dtype;
} variants[] = {{UFM_EXPERT_MLP, UFM_F32},       {UFM_EXPERT_MLP_BIAS, UFM_F32},
                {UFM_EXPERT_GATED, UFM_F32},     {UFM_EXPERT_MLP, UFM_BF16},
                {UFM_EXPERT_MLP_BIAS, UFM_BF16}, {UFM_EXPERT_GATED, UFM_BF16}};

#define VARIANTS (sizeof variants / sizeof variants[0])

/* ------------------------------------------------------------------ tests, once for each table */

static void test_products(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t v = 0; v < VARIANTS; v++)
		check_shapes(k, variants[v].kind, variants[v].dtype);
}

static void test_invariance(void **state)
{
	const kernel_table *k = table_of(state);

	sample s;

	for (size_t v = 0; v < VARIANTS; v++) {
		sample_init(&s, variants[v].kind, variants[v].dtype, 75, 203, 23);
		check_invariance(k, s);
	}
	for (ufm_dtype dtype = UFM_F32; dtype <= UFM_BF16; dtype++) {
		ufm_expert_desc desc =
			arithmetic_desc(arithmetic_named("clamped, alpha, up + 1"), true, dtype, 75, 203);
		expert_sample_init(&s, &desc, 23, base_seed);
		check_invariance(k, s);
	}
}

/* Every activation and parameter, with biases on all matrices and without, of few tokens and many. */
static void check_arithmetic(const kernel_table *k, const arithmetic *a, bool biased,
                             ufm_dtype dtype, uint32_t tokens)
{
	ufm_expert_desc desc = arithmetic_desc(a, biased, dtype, 33, 131);
	sample s;

	expert_sample_init(&s, &desc, tokens, base_seed);
	expert_sample_reference(&s);
	k->hidden(&desc, s.block, s.x, tokens, s.hidden, 0, 131);
	k->output(&desc, s.block, s.hidden, tokens, s.out, 0, 33);
	check_error(k->isa, a->name, &s, s.hidden, s.hidden_ref, (size_t)tokens * 131, s.hidden_scale);
	check_error(k->isa, a->name, &s, s.out, s.out_ref, (size_t)tokens * 33, s.out_scale);
	expert_sample_free(&s);
}

static void test_arithmetics(void **state)
{
	const kernel_table *k = table_of(state);
	static const uint32_t tokens[] = {1, 3, 17, 50};

	for (size_t a = 0; a < arithmetic_count; a++) {
		for (uint32_t i = 0; i < 16; i++)
			check_arithmetic(k, &arithmetics[a], i & 1, i & 2 ? UFM_BF16 : UFM_F32, tokens[i / 4]);
	}
}

/* How far the reference moves when a parameter is left out; infinitely where it has none. */
static double moved_by(const ufm_expert_desc *desc, size_t field_at)
{
	ufm_expert_desc less = *desc;
	float *field = (float *)(void *)((char *)&less + field_at);
	double most = 0.0;
	sample with, without;

	if (*field == 0.0f)
		return INFINITY;
	*field = 0.0f;
	expert_sample_init(&with, desc, 3, base_seed);
	expert_sample_init(&without, &less, 3, base_seed);
	expert_sample_reference(&with);
	expert_sample_reference(&without);
	for (uint32_t i = 0; i < 3 * desc->d_hidden; i++)
		most = fmax(most, fabs(with.hidden_ref[i] - without.hidden_ref[i]));
	expert_sample_free(&with);
	expert_sample_free(&without);
	return most;
}

/* Limits are met and factors seen, so whoever ignores a parameter cannot pass. */
static void test_parameters_matter(void **state)
{
	static const size_t fields[] = {
		offsetof(ufm_expert_desc, act_alpha), offsetof(ufm_expert_desc, gate_limit),
		offsetof(ufm_expert_desc, activated_limit), offsetof(ufm_expert_desc, up_limit),
		offsetof(ufm_expert_desc, up_offset)};

	(void)state;
	for (size_t a = 0; a < arithmetic_count; a++) {
		ufm_expert_desc desc = arithmetic_desc(&arithmetics[a], true, UFM_F32, 33, 131);
		for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
			assert_true(moved_by(&desc, fields[f]) > 1e-2);
	}
}

/* Gated with biases of two dtypes, neither of which any standard kind has. */
static void test_mixed_biases(void **state)
{
	const kernel_table *k = table_of(state);
	sample s;

	sample_init(&s, UFM_EXPERT_GATED, UFM_F32, 10, 19, 3);
	uint64_t end = s.desc.expert_bytes;
	assert_true(end + 192 <= s.desc.block_bytes);
	s.desc.parts[s.desc.part_count++] = (ufm_part){
		.role = UFM_ROLE_UP_BIAS, .dtype = UFM_BF16, .rows = 19, .cols = 1, .offset_bytes = end};
	s.desc.parts[s.desc.part_count++] = (ufm_part){.role = UFM_ROLE_GATE_BIAS,
	                                               .dtype = UFM_F32,
	                                               .rows = 19,
	                                               .cols = 1,
	                                               .offset_bytes = end + 64};
	rng_fill_bf16((uint16_t *)(void *)(s.block + end), 19, base_seed, 0, 1.0f);
	rng_fill_f32((float *)(void *)(s.block + end + 64), 19, base_seed, 19, 1.0f);
	expert_sample_reference(&s);
	k->hidden(&s.desc, s.block, s.x, 3, s.hidden, 0, 19);
	check_error(k->isa, "hidden with mixed biases", &s, s.hidden, s.hidden_ref, 3 * 19,
	            s.hidden_scale);
	expert_sample_free(&s);
}

static void test_logits(void **state)
{
	const kernel_table *k = table_of(state);
	enum { EXPERTS = 67, TOKENS = 9, D = 219 };
	static float weight[EXPERTS * D], x[TOKENS * D], logits[TOKENS * EXPERTS], alone[EXPERTS];
	static double ref[TOKENS * EXPERTS];

	rng_fill_f32(weight, EXPERTS * D, base_seed, 0, 0.1f);
	rng_fill_f32(x, TOKENS * D, base_seed + 1, 0, 1.0f);
	for (uint32_t i = 0; i < TOKENS * EXPERTS; i++) {
		ref[i] = 0.0;
		for (uint32_t c = 0; c < D; c++)
			ref[i] += (double)weight[i % EXPERTS * D + c] * (double)x[i / EXPERTS * D + c];
	}
	k->logits(weight, EXPERTS, x, TOKENS, D, logits);
	assert_true(expert_sample_error(logits, ref, TOKENS * EXPERTS, 0.0) <= EXPERT_SAMPLE_TOLERANCE);
	for (uint32_t t = 0; t < TOKENS; t++) {
		k->logits(weight, EXPERTS, x + t * D, 1, D, alone);
		assert_memory_equal(alone, logits + t * EXPERTS, sizeof alone);
	}
}

/* Pieces from prepared inputs have the bits that they have without. Frees the sample. */
static void check_prepared(const kernel_table *k, sample s)
{
	uint32_t d = s.desc.d_model, h = s.desc.d_hidden, tokens = s.tokens,
			 parts = 1 + (uint32_t)(base_seed % 5);

	float *hidden = alloc_zeroed((size_t)tokens * h, sizeof(float));
	float *out = alloc_zeroed((size_t)tokens * d, sizeof(float));
	uint64_t bytes[2] = {k->prepared_bytes(&s.desc, UFM_ROLE_UP, tokens),
	                     k->prepared_bytes(&s.desc, UFM_ROLE_DOWN, tokens)};
	void *made[2] = {bytes[0] ? aligned_alloc(64, bytes[0]) : NULL,
	                 bytes[1] ? aligned_alloc(64, bytes[1]) : NULL};
	k->hidden(&s.desc, s.block, s.x, tokens, s.hidden, 0, h);
	k->output(&s.desc, s.block, s.hidden, tokens, s.out, 0, d);
	for (uint32_t p = 0; p < parts; p++) {
		k->prepare(&s.desc, UFM_ROLE_UP, s.x, tokens, made[0], p, parts);
		k->prepare(&s.desc, UFM_ROLE_DOWN, s.hidden, tokens, made[1], p, parts);
	}
	uint32_t hc = h * 2 / 3, dc = d / 2;
	k->hidden_prepared(&s.desc, s.block, s.x, made[0], tokens, hidden, 0, hc);
	k->hidden_prepared(&s.desc, s.block, s.x, made[0], tokens, hidden, hc, h);
	k->output_prepared(&s.desc, s.block, s.hidden, made[1], tokens, out, 0, dc);
	k->output_prepared(&s.desc, s.block, s.hidden, made[1], tokens, out, dc, d);
	assert_memory_equal(hidden, s.hidden, (size_t)tokens * h * sizeof(float));
	assert_memory_equal(out, s.out, (size_t)tokens * d * sizeof(float));
	free(made[0]);
	free(made[1]);
	alloc_free(hidden);
	alloc_free(out);
	expert_sample_free(&s);
}

static void test_prepared(void **state)
{
	static const uint32_t cases[][3] = {{77, 203, 23}, {1056, 130, 5}, {33, 49, 100}, {1, 1, 1}};
	const kernel_table *k = table_of(state);
	const arithmetic *a = arithmetic_named("clamped, alpha, up + 1");
	sample s;

	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		for (size_t v = 0; v < VARIANTS; v++) {
			sample_init(&s, variants[v].kind, variants[v].dtype, cases[c][0], cases[c][1],
			            cases[c][2]);
			check_prepared(k, s);
		}
		ufm_expert_desc desc = arithmetic_desc(a, true, UFM_BF16, cases[c][0], cases[c][1]);
		expert_sample_init(&s, &desc, cases[c][2], base_seed);
		check_prepared(k, s);
	}
}

static void check_against_scalar(const kernel_table *k, ufm_dtype dtype, uint32_t inputs,
                                 uint32_t units, uint32_t tokens)
{
	const kernel_table *scalar = kernels_find("scalar", NULL);
	sample s;

	sample_init(&s, UFM_EXPERT_GATED, dtype, inputs, units, tokens);
	expert_sample_reference(&s);
	size_t count = (size_t)tokens * units;
	k->hidden(&s.desc, s.block, s.x, tokens, s.hidden, 0, units);
	float *expected = alloc_zeroed(count, sizeof(float));
	scalar->hidden(&s.desc, s.block, s.x, tokens, expected, 0, units);
	for (size_t i = 0; i < count; i++)
		s.hidden_ref[i] = (double)expected[i];
	check_error(k->isa, "hidden against scalar", &s, s.hidden, s.hidden_ref, count, s.hidden_scale);
	alloc_free(expected);
	expert_sample_free(&s);
}

static void test_against_scalar(void **state)
{
	const kernel_table *k = table_of(state);
	static const uint32_t units[] = {1, 15, 17}, inputs[] = {1, 31, 33};
	static const uint32_t tokens[] = {0, 1, 7, 16, 17, 33};

	for (size_t u = 0; u < 3; u++) {
		for (size_t i = 0; i < 3; i++) {
			for (size_t t = 0; t < 6; t++) {
				check_against_scalar(k, UFM_F32, inputs[i], units[u], tokens[t]);
				check_against_scalar(k, UFM_BF16, inputs[i], units[u], tokens[t]);
			}
		}
	}
}

/* Large, small and infinite inputs stay what they are, and a NaN reaches its token alone. */
static void test_wide_range(void **state)
{
	const kernel_table *k = table_of(state);
	enum { D = 37, H = 70, TOKENS = 5 };
	static const float inputs[TOKENS] = {3.4e38f, INFINITY, NAN, 1.1754944e-38f, -1.2345678f};
	sample s;

	sample_init(&s, UFM_EXPERT_MLP, UFM_BF16, D, H, TOKENS);
	memset(s.hidden, 0, sizeof(float) * TOKENS * H);
	uint16_t *down =
		(uint16_t *)(void *)(s.block + ufm_expert_part(&s.desc, UFM_ROLE_DOWN)->offset_bytes);
	for (uint32_t i = 0; i < D * H; i++)
		down[i] = 0x3f80; /* 1 */
	for (uint32_t t = 0; t < TOKENS; t++)
		s.hidden[t * H + 13 * t] = inputs[t];
	k->output(&s.desc, s.block, s.hidden, TOKENS, s.out, 0, D);
	for (uint32_t u = 0; u < D; u++) {
		assert_true(s.out[u] == inputs[0]);
		assert_true(isinf(s.out[D + u]) && s.out[D + u] > 0.0f);
		assert_true(isnan(s.out[2 * D + u]));
		assert_true(s.out[3 * D + u] == inputs[3]);
		assert_true(s.out[4 * D + u] == inputs[4]);
	}
	expert_sample_free(&s);
}

/* A weight that is NaN reaches its own unit alone, also from the start of the row after a short step. */
static void test_rows_apart(void **state)
{
	const kernel_table *k = table_of(state);
	enum { D = 50, H = 37, TOKENS = 3, UNIT = 20 };
	sample s;

	sample_init(&s, UFM_EXPERT_MLP, UFM_BF16, D, H, TOKENS);
	uint16_t *up =
		(uint16_t *)(void *)(s.block + ufm_expert_part(&s.desc, UFM_ROLE_UP)->offset_bytes);
	for (uint32_t c = 0; c < D; c++)
		up[UNIT * D + c] = 0x7fc0;
	k->hidden(&s.desc, s.block, s.x, TOKENS, s.hidden, 0, H);
	for (uint32_t i = 0; i < TOKENS * H; i++)
		assert_true(isnan(s.hidden[i]) == (i % H == UNIT));
	expert_sample_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOR_TABLES(test_products),     FOR_TABLES(test_invariance),
		FOR_TABLES(test_mixed_biases), FOR_TABLES(test_logits),
		FOR_TABLES(test_prepared),     FOR_TABLES(test_against_scalar),
		FOR_TABLES(test_wide_range),   FOR_TABLES(test_rows_apart),
		FOR_TABLES(test_arithmetics),  cmocka_unit_test(test_parameters_matter),
	};

	base_seed = rng_mix((uint64_t)time(NULL), 1);
	print_message("seed %llu\n", (unsigned long long)base_seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
