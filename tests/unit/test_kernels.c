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
#include "support/amx_emulated.h"

#define TOLERANCE 1e-5

static uint64_t base_seed;

/* ------------------------------------------------------------------ an expert and its inputs */

typedef struct sample {
	ufm_expert_desc desc;
	uint32_t tokens;
	unsigned char *block;
	float *x, *hidden, *out;
	double *hidden_ref, *out_ref;
	double *scale; /* of one token's hidden values, before cancellation */
	double hidden_scale, out_scale;
} sample;

static void sample_init(sample *s, ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                        uint32_t d_hidden, uint32_t tokens)
{
	uint64_t seed = rng_mix(base_seed, d_model * 1000003u + d_hidden * 131u + tokens);

	UFM_STRUCT_INIT(&s->desc);
	assert_int_equal(ufm_expert_desc_init(&s->desc, kind, d_model, d_hidden, dtype), UFM_OK);
	s->tokens = tokens;
	s->block = alloc_zeroed(1, s->desc.block_bytes);
	s->x = alloc_zeroed((size_t)tokens * d_model, sizeof(float));
	s->hidden = alloc_zeroed((size_t)tokens * d_hidden, sizeof(float));
	s->out = alloc_zeroed((size_t)tokens * d_model, sizeof(float));
	s->hidden_ref = alloc_zeroed((size_t)tokens * d_hidden, sizeof(double));
	s->out_ref = alloc_zeroed((size_t)tokens * d_model, sizeof(double));
	s->scale = alloc_zeroed(d_hidden, sizeof(double));
	s->hidden_scale = s->out_scale = 0.0;
	for (uint32_t p = 0; p < s->desc.part_count; p++) {
		const ufm_part *part = &s->desc.parts[p];
		size_t count = (size_t)part->rows * part->cols;
		float scale = (float)(1.7 / sqrt(part->cols));
		if (part->dtype == UFM_F32)
			rng_fill_f32((float *)(void *)(s->block + part->offset_bytes), count, seed + p, 0,
			             scale);
		else
			rng_fill_bf16((uint16_t *)(void *)(s->block + part->offset_bytes), count, seed + p, 0,
			              scale);
	}
	rng_fill_f32(s->x, (size_t)tokens * d_model, seed + 99, 0, 2.0f);
}

static void sample_free(sample *s)
{
	alloc_free(s->block);
	alloc_free(s->x);
	alloc_free(s->hidden);
	alloc_free(s->out);
	alloc_free(s->hidden_ref);
	alloc_free(s->out_ref);
	alloc_free(s->scale);
}

/* ------------------------------------------------------------------ float64 reference */

static double element(const sample *s, ufm_role role, size_t index)
{
	const ufm_part *part = ufm_expert_part(&s->desc, role);

	if (!part)
		return 0.0;
	const unsigned char *data = s->block + part->offset_bytes;
	if (part->dtype == UFM_F32)
		return ((const float *)(const void *)data)[index];
	return bf16_to_f32(((const uint16_t *)(const void *)data)[index]);
}

/* A sum, and the sum of what its terms may be in magnitude. */
typedef struct total {
	double value, scale;
} total;

static void add_term(total *sum, double weight, double x, double x_scale)
{
	sum->value += weight * x;
	sum->scale += fabs(weight) * x_scale;
}

static total hidden_sum(const sample *s, ufm_role matrix, ufm_role bias, uint32_t row,
                        const float *x)
{
	total sum = {0.0, 0.0};

	add_term(&sum, element(s, bias, row), 1.0, 1.0);
	for (uint32_t c = 0; c < s->desc.d_model; c++)
		add_term(&sum, element(s, matrix, (size_t)row * s->desc.d_model + c), (double)x[c],
		         fabs((double)x[c]));
	return sum;
}

static total output_sum(const sample *s, uint32_t row, const double *hidden)
{
	total sum = {0.0, 0.0};

	add_term(&sum, element(s, UFM_ROLE_DOWN_BIAS, row), 1.0, 1.0);
	for (uint32_t u = 0; u < s->desc.d_hidden; u++)
		add_term(&sum, element(s, UFM_ROLE_DOWN, (size_t)row * s->desc.d_hidden + u), hidden[u],
		         s->scale[u]);
	return sum;
}

static double activation(ufm_activation activation, double x)
{
	return activation == UFM_ACT_GELU ? x * 0.5 * erfc(-x / sqrt(2.0)) : x / (1.0 + exp(-x));
}

static void reference_hidden(sample *s, const float *x, double *hidden)
{
	bool gated = ufm_expert_part(&s->desc, UFM_ROLE_GATE) != NULL;

	for (uint32_t u = 0; u < s->desc.d_hidden; u++) {
		total up = hidden_sum(s, UFM_ROLE_UP, UFM_ROLE_UP_BIAS, u, x), gate = up;
		if (gated)
			gate = hidden_sum(s, UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS, u, x);
		hidden[u] = activation(s->desc.activation, gate.value) * (gated ? up.value : 1.0);
		s->scale[u] = gate.scale * (gated ? up.scale : 1.0);
		s->hidden_scale = fmax(s->hidden_scale, s->scale[u]);
	}
}

static void reference(sample *s)
{
	uint32_t d = s->desc.d_model, h = s->desc.d_hidden;

	for (uint32_t t = 0; t < s->tokens; t++) {
		double *hidden = s->hidden_ref + (size_t)t * h;
		reference_hidden(s, s->x + (size_t)t * d, hidden);
		for (uint32_t u = 0; u < d; u++) {
			total out = output_sum(s, u, hidden);
			s->out_ref[(size_t)t * d + u] = out.value;
			s->out_scale = fmax(s->out_scale, out.scale);
		}
	}
}

/* So many values that the largest is not small by cancellation. */
#define MANY 100

/* max|y - ref| / max|ref|; of a few values, whose terms may all have cancelled, relative to those. */
static double error_of(const float *y, const double *ref, size_t count, double scale)
{
	double worst = 0.0, largest = 0.0;

	for (size_t i = 0; i < count; i++) {
		double e = fabs((double)y[i] - ref[i]);
		worst = isnan(e) ? INFINITY : fmax(worst, e);
		largest = fmax(largest, fabs(ref[i]));
	}
	if (count < MANY)
		largest = fmax(largest, scale);
	return largest > 0.0 ? worst / largest : worst;
}

static void check_error(const char *isa, const char *what, const sample *s, const float *y,
                        const double *ref, size_t count, double scale)
{
	double e = error_of(y, ref, count, scale);

	if (!(e <= TOLERANCE))
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
	reference(&s);
	k->hidden(&s.desc, s.block, s.x, tokens, s.hidden, 0, shape[1]);
	k->output(&s.desc, s.block, s.hidden, tokens, s.out, 0, shape[0]);
	check_error(k->isa, "hidden", &s, s.hidden, s.hidden_ref, (size_t)tokens * shape[1],
	            s.hidden_scale);
	check_error(k->isa, "output", &s, s.out, s.out_ref, (size_t)tokens * shape[0], s.out_scale);
	sample_free(&s);
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

/* Every piece of the result, computed alone, has the bits it had in the whole. */
static void check_invariance(const kernel_table *k, ufm_expert_kind kind, ufm_dtype dtype)
{
	sample s;
	rng r;

	sample_init(&s, kind, dtype, 75, 203, 23);
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
	sample_free(&s);
}

static const struct {
	ufm_expert_kind kind;
	ufm_dtype dtype;
} variants[] = {{UFM_EXPERT_MLP, UFM_F32},       {UFM_EXPERT_MLP_BIAS, UFM_F32},
                {UFM_EXPERT_GATED, UFM_F32},     {UFM_EXPERT_MLP, UFM_BF16},
                {UFM_EXPERT_MLP_BIAS, UFM_BF16}, {UFM_EXPERT_GATED, UFM_BF16}};

#define VARIANTS (sizeof variants / sizeof variants[0])

/* ------------------------------------------------------------------ tests, once for each table */

/* Skips, saying why, where this CPU or build lacks the table. */
static const kernel_table *table_of(void **state)
{
	const char *why = NULL;
	const kernel_table *k = kernels_find(*state, &why);

	if (strcmp(*state, amx_emulated()->isa) == 0)
		return amx_emulated();
	if (!k) {
		print_message("%s: %s\n", (const char *)*state, why);
		skip();
	}
	return k;
}

static void test_products(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t v = 0; v < VARIANTS; v++)
		check_shapes(k, variants[v].kind, variants[v].dtype);
}

static void test_invariance(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t v = 0; v < VARIANTS; v++)
		check_invariance(k, variants[v].kind, variants[v].dtype);
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
	reference(&s);
	k->hidden(&s.desc, s.block, s.x, 3, s.hidden, 0, 19);
	check_error(k->isa, "hidden with mixed biases", &s, s.hidden, s.hidden_ref, 3 * 19,
	            s.hidden_scale);
	sample_free(&s);
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
	assert_true(error_of(logits, ref, TOKENS * EXPERTS, 0.0) <= TOLERANCE);
	for (uint32_t t = 0; t < TOKENS; t++) {
		k->logits(weight, EXPERTS, x + t * D, 1, D, alone);
		assert_memory_equal(alone, logits + t * EXPERTS, sizeof alone);
	}
}

/* Pieces from prepared inputs have the bits that they have without. */
static void check_prepared(const kernel_table *k, ufm_expert_kind kind, ufm_dtype dtype,
                           const uint32_t shape[2], uint32_t tokens)
{
	sample s;
	uint32_t d = shape[0], h = shape[1], parts = 1 + (uint32_t)(base_seed % 5);

	sample_init(&s, kind, dtype, d, h, tokens);
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
	sample_free(&s);
}

static void test_prepared(void **state)
{
	const kernel_table *k = table_of(state);

	for (size_t v = 0; v < VARIANTS; v++) {
		check_prepared(k, variants[v].kind, variants[v].dtype, (const uint32_t[2]){77, 203}, 23);
		check_prepared(k, variants[v].kind, variants[v].dtype, (const uint32_t[2]){1056, 130}, 5);
		check_prepared(k, variants[v].kind, variants[v].dtype, (const uint32_t[2]){33, 49}, 100);
		check_prepared(k, variants[v].kind, variants[v].dtype, (const uint32_t[2]){1, 1}, 1);
	}
}

static void check_against_scalar(const kernel_table *k, ufm_dtype dtype, uint32_t inputs,
                                 uint32_t units, uint32_t tokens)
{
	const kernel_table *scalar = kernels_find("scalar", NULL);
	sample s;

	sample_init(&s, UFM_EXPERT_GATED, dtype, inputs, units, tokens);
	reference(&s);
	size_t count = (size_t)tokens * units;
	k->hidden(&s.desc, s.block, s.x, tokens, s.hidden, 0, units);
	float *expected = alloc_zeroed(count, sizeof(float));
	scalar->hidden(&s.desc, s.block, s.x, tokens, expected, 0, units);
	for (size_t i = 0; i < count; i++)
		s.hidden_ref[i] = (double)expected[i];
	check_error(k->isa, "hidden against scalar", &s, s.hidden, s.hidden_ref, count, s.hidden_scale);
	alloc_free(expected);
	sample_free(&s);
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
	sample_free(&s);
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
	sample_free(&s);
}

#define FOR_TABLE(test, isa) \
	{ \
#test " " isa, test, NULL, NULL, (void *)(uintptr_t)(isa) \
	}
#define FOR_TABLES(test) \
	FOR_TABLE(test, "scalar"), FOR_TABLE(test, "avx2"), FOR_TABLE(test, "avx512"), \
		FOR_TABLE(test, "amx"), FOR_TABLE(test, "amx-emulated")

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOR_TABLES(test_products),   FOR_TABLES(test_invariance), FOR_TABLES(test_mixed_biases),
		FOR_TABLES(test_logits),     FOR_TABLES(test_prepared),   FOR_TABLES(test_against_scalar),
		FOR_TABLES(test_wide_range), FOR_TABLES(test_rows_apart),
	};

	base_seed = rng_mix((uint64_t)time(NULL), 1);
	print_message("seed %llu\n", (unsigned long long)base_seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
