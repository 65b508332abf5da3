/* SPDX-License-Identifier: MIT */
/* combine: exactly the f32 operations that backend.h names, in router order. */
#include "conformance.h"

#include <string.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"

#define TOKENS_MAX 45
#define D_MAX 700
#define STRIDE_MAX 720
#define K_MAX 8

typedef enum residual_kind {
	RESIDUAL_NONE,
	RESIDUAL_F32,
	RESIDUAL_BF16,
	RESIDUAL_F16
} residual_kind;

typedef struct combine_case {
	uint32_t tokens, d_model, top_k;
	residual_kind residual;
	ufm_dtype y_dtype;
	bool strided, in_place, few;
} combine_case;

static struct {
	float rows[TOKENS_MAX * K_MAX * D_MAX], gates[TOKENS_MAX * K_MAX];
	uint32_t row_of[TOKENS_MAX * K_MAX];
	float residual[TOKENS_MAX * STRIDE_MAX];
	uint16_t residual_bits[TOKENS_MAX * STRIDE_MAX];
	unsigned char y[TOKENS_MAX * STRIDE_MAX * 4];
} data;

static void make_inputs(const combine_case *c)
{
	uint32_t pairs = c->tokens * c->top_k;
	rng r;

	rng_seed(&r, the.seed);
	random_f32(data.rows, (size_t)pairs * c->d_model, 3.0f);
	random_f32(data.gates, pairs, 1.0f);
	random_f32(data.residual, TOKENS_MAX * STRIDE_MAX, 2.0f);
	for (uint32_t i = 0; i < TOKENS_MAX * STRIDE_MAX; i++)
		data.residual_bits[i] = c->residual == RESIDUAL_F16 ? f16_from_f32(data.residual[i])
		                                                    : bf16_from_f32(data.residual[i]);
	/* Rows in no order, some missing, and one token with none at all. */
	for (uint32_t i = 0; i < pairs; i++)
		data.row_of[i] = rng_below(&r, 5) == 0 ? UFM_ROW_NONE : rng_below(&r, pairs);
	for (uint32_t j = 0; j < c->top_k && c->tokens; j++)
		data.row_of[(c->tokens - 1) * c->top_k + j] = UFM_ROW_NONE;
}

/* One element, each operation rounded. */
static float expected(const combine_case *c, uint32_t token, uint32_t i, uint64_t stride)
{
	bool started = c->residual != RESIDUAL_NONE;
	volatile float sum = 0.0f, product;

	if (c->residual == RESIDUAL_F32)
		sum = data.residual[token * stride + i];
	if (c->residual == RESIDUAL_BF16)
		sum = bf16_to_f32(data.residual_bits[token * stride + i]);
	if (c->residual == RESIDUAL_F16)
		sum = f16_to_f32(data.residual_bits[token * stride + i]);
	for (uint32_t j = 0; j < c->top_k; j++) {
		uint32_t row = data.row_of[token * c->top_k + j];
		if (row == UFM_ROW_NONE)
			continue;
		product = data.gates[token * c->top_k + j] * data.rows[(size_t)row * c->d_model + i];
		sum = started ? sum + product : product;
		started = true;
	}
	return sum;
}

static void check_element(const combine_case *c, uint32_t token, uint32_t i, uint64_t stride)
{
	float value = expected(c, token, i, stride);
	uint16_t bits = c->y_dtype == UFM_F16 ? f16_from_f32(value) : bf16_from_f32(value);
	size_t size_bytes = ufm_dtype_bytes(c->y_dtype);
	const void *wanted = c->y_dtype == UFM_F32 ? (const void *)&value : (const void *)&bits;

	if (memcmp(data.y + (token * stride + i) * size_bytes, wanted, size_bytes) != 0)
		fail_msg("tokens %u, d_model %u, top_k %u, residual %d, dtype %d, strided %d, in place %d: "
		         "element %u of token %u, seed %llu",
		         c->tokens, c->d_model, c->top_k, (int)c->residual, (int)c->y_dtype, c->strided,
		         c->in_place, i, token, (unsigned long long)the.seed);
}

static ufm_devptr upload_residual(const combine_case *c)
{
	if (c->residual == RESIDUAL_F32)
		return upload(data.residual, sizeof data.residual);
	if (c->residual == RESIDUAL_BF16 || c->residual == RESIDUAL_F16)
		return upload(data.residual_bits, sizeof data.residual_bits);
	return 0;
}

static void check_once(const combine_case *c)
{
	uint64_t stride = c->strided ? c->d_model + 20 : c->d_model;
	uint32_t pairs = c->tokens * c->top_k;

	make_inputs(c);
	ufm_devptr residual = upload_residual(c);
	size_t y_bytes = TOKENS_MAX * STRIDE_MAX * ufm_dtype_bytes(c->y_dtype);
	ufm_combine_args args = {
		.rows = upload(data.rows, (size_t)pairs * c->d_model * 4 + 4),
		.row_of = c->few ? 0 : upload(data.row_of, sizeof data.row_of),
		.few_row_of = c->few ? data.row_of : NULL,
		.gates = upload(data.gates, sizeof data.gates),
		.tokens = c->tokens,
		.top_k = c->top_k,
		.d_model = c->d_model,
		.residual = residual,
		.residual_stride = stride,
		.residual_dtype = c->residual == RESIDUAL_BF16  ? UFM_BF16
	                      : c->residual == RESIDUAL_F16 ? UFM_F16
	                                                    : UFM_F32,
		.y = c->in_place ? residual : device_alloc(y_bytes),
		.y_stride = stride,
		.y_dtype = c->y_dtype,
	};
	OK(the.backend->combine(the.stream, &args));
	download(data.y, args.y, y_bytes);
	for (uint32_t t = 0; t < c->tokens; t++) {
		for (uint32_t i = 0; i < c->d_model; i++)
			check_element(c, t, i, stride);
	}
	/* Between the rows nothing is written. */
	for (uint32_t t = 0; c->strided && !c->in_place && t < c->tokens; t++)
		assert_int_equal(data.y[(t * stride + c->d_model) * ufm_dtype_bytes(c->y_dtype)], 0xff);
}

/* Few numbers of rows may lie in host memory. */
static void check(const combine_case *c)
{
	combine_case few = *c;

	check_once(c);
	few.few = true;
	if (c->tokens * c->top_k <= UFM_FEW_ROWS)
		check_once(&few);
}

static void check_residuals(uint32_t tokens, uint32_t d_model, uint32_t top_k, bool strided)
{
	for (residual_kind r = RESIDUAL_NONE; r <= RESIDUAL_F16; r++) {
		check(&(combine_case){tokens, d_model, top_k, r, UFM_F32, strided, false, false});
		check(&(combine_case){tokens, d_model, top_k, r, UFM_BF16, strided, false, false});
		check(&(combine_case){tokens, d_model, top_k, r, UFM_F16, strided, false, false});
	}
}

static void combine_shapes(void **state)
{
	(void)state;
	check_residuals(1, 1, 1, false);
	check_residuals(5, 7, 2, false);
	check_residuals(3, 512, 3, false);
	check_residuals(2, 513, K_MAX, false);
	check_residuals(UFM_FEW_ROWS / K_MAX, 20, K_MAX, false);
}

static void combine_many_tokens(void **state)
{
	(void)state;
	check_residuals(TOKENS_MAX, 129, 2, false);
	check_residuals(TOKENS_MAX, 64, K_MAX, false);
}

static void combine_strides(void **state)
{
	(void)state;
	check_residuals(9, 33, 2, true);
	check_residuals(4, D_MAX, 1, true);
}

static void combine_in_place(void **state)
{
	(void)state;
	for (uint32_t strided = 0; strided < 2; strided++) {
		check(&(combine_case){17, 100, 2, RESIDUAL_F32, UFM_F32, strided != 0, true, false});
		check(&(combine_case){17, 600, 2, RESIDUAL_BF16, UFM_BF16, strided != 0, true, false});
		check(&(combine_case){17, 600, 2, RESIDUAL_F16, UFM_F16, strided != 0, true, false});
	}
}

static void combine_no_tokens(void **state)
{
	(void)state;
	check(&(combine_case){0, 10, 2, RESIDUAL_F32, UFM_F32, false, false, false});
}

/* The rows may lie in page-locked host memory. */
static void combine_rows_in_host_memory(void **state)
{
	(void)state;
	combine_case c = {11, 50, 2, RESIDUAL_F32, UFM_F32, false, false, false};
	ufm_devptr view = 0;

	make_inputs(&c);
	size_t rows_bytes = (size_t)22 * 50 * 4;
	float *rows = host_alloc(rows_bytes);
	memcpy(rows, data.rows, rows_bytes);
	OK(the.backend->host_view(the.device, rows, &view));
	ufm_combine_args args = {
		.rows = view,
		.row_of = upload(data.row_of, sizeof data.row_of),
		.gates = upload(data.gates, sizeof data.gates),
		.tokens = 11,
		.top_k = 2,
		.d_model = 50,
		.residual = upload_residual(&c),
		.residual_stride = 50,
		.residual_dtype = UFM_F32,
		.y = device_alloc(11 * 50 * 4),
		.y_stride = 50,
		.y_dtype = UFM_F32,
	};
	OK(the.backend->combine(the.stream, &args));
	download(data.y, args.y, 11 * 50 * 4);
	for (uint32_t i = 0; i < 11 * 50; i++)
		check_element(&c, i / 50, i % 50, 50);
}

static const struct CMUnitTest cases[] = {
	CASE(combine_shapes),   CASE(combine_many_tokens), CASE(combine_strides),
	CASE(combine_in_place), CASE(combine_no_tokens),   CASE(combine_rows_in_host_memory),
};
const case_list combine_cases = CASE_LIST(cases);
