/* SPDX-License-Identifier: MIT */
/* gather: rows picked or in order, f32 or bf16, with and without the norm. */
#include "conformance.h"

#include <math.h>

#include "base/alloc.h"
#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"

#define TOKENS 61
#define D_MAX 1030
#define EPS 1e-6f

typedef struct gather_case {
	uint32_t d_model, rows, first;
	uint64_t stride;
	ufm_dtype dtype;
	bool index, norm, few;
} gather_case;

static struct {
	float x[TOKENS * D_MAX], norm[D_MAX], out[TOKENS * D_MAX];
	uint16_t bits[TOKENS * D_MAX];
	uint32_t index[TOKENS];
	double ref[TOKENS * D_MAX];
} data;

/* Elements a token of what is uploaded; with stride 0 all rows are the first token. */
static uint64_t width_of(const gather_case *c)
{
	return c->stride ? c->stride : c->d_model;
}

static void make_inputs(const gather_case *c)
{
	rng r;

	rng_seed(&r, the.seed);
	random_f32(data.x, TOKENS * (size_t)width_of(c), 2.0f);
	random_f32(data.norm, c->d_model, 1.5f);
	for (uint32_t i = 0; i < TOKENS * width_of(c); i++) {
		data.bits[i] = c->dtype == UFM_F16 ? f16_from_f32(data.x[i]) : bf16_from_f32(data.x[i]);
		if (c->dtype == UFM_BF16)
			data.x[i] = bf16_to_f32(data.bits[i]);
		if (c->dtype == UFM_F16)
			data.x[i] = f16_to_f32(data.bits[i]);
	}
	for (uint32_t i = 0; i < c->rows; i++)
		data.index[i] = c->index ? rng_below(&r, TOKENS) : c->first + i;
}

static void make_reference(const gather_case *c)
{
	for (uint32_t i = 0; i < c->rows; i++) {
		const float *x = data.x + data.index[i] * c->stride;
		double squares = 0.0;
		for (uint32_t j = 0; j < c->d_model; j++)
			squares += (double)x[j] * (double)x[j];
		double scale = c->norm ? 1.0 / sqrt(squares / c->d_model + (double)EPS) : 1.0;
		for (uint32_t j = 0; j < c->d_model; j++)
			data.ref[(size_t)i * c->d_model + j] =
				(double)x[j] * scale * (c->norm ? (double)data.norm[j] : 1.0);
	}
}

static void check_once(const gather_case *c)
{
	size_t count = (size_t)c->rows * c->d_model, in = TOKENS * (size_t)width_of(c);

	make_inputs(c);
	make_reference(c);
	ufm_gather_args args = {
		.x = c->dtype == UFM_F32 ? upload(data.x, in * 4) : upload(data.bits, in * 2),
		.x_stride = c->stride,
		.x_dtype = c->dtype,
		.index = c->index && !c->few ? upload(data.index, sizeof data.index) : 0,
		.few_index = c->few ? data.index : NULL,
		.first = c->first,
		.rows = c->rows,
		.d_model = c->d_model,
		.norm_weight = c->norm ? upload(data.norm, c->d_model * 4) : 0,
		.norm_eps = EPS,
		.out = device_alloc(count * 4 + 4),
	};
	OK(the.backend->gather(the.stream, &args));
	download(data.out, args.out, count * 4 + 4);
	double e = error_of(data.out, data.ref, count);
	if (!(e <= (c->norm ? 1e-6 : 0.0)))
		fail_msg(
			"d_model %u, rows %u, stride %llu, dtype %d, index %d, norm %d: error %g, seed %llu",
			c->d_model, c->rows, (unsigned long long)c->stride, (int)c->dtype, c->index, c->norm, e,
			(unsigned long long)the.seed);
	assert_true(isnan(data.out[count])); /* nothing past the end */
}

/* A short index may lie in host memory. */
static void check(const gather_case *c)
{
	gather_case few = *c;

	check_once(c);
	few.few = true;
	if (c->index && c->rows <= UFM_FEW_ROWS)
		check_once(&few);
}

static void check_all(uint32_t d_model, uint32_t rows, uint32_t first, uint64_t stride)
{
	static const ufm_dtype dtypes[] = {UFM_F32, UFM_BF16, UFM_F16};
	for (uint32_t v = 0; v < 12; v++) {
		gather_case c = {d_model,       rows,         first,        stride,
		                 dtypes[v / 4], (v & 1) != 0, (v & 2) != 0, false};
		check(&c);
	}
}

static void gather_shapes(void **state)
{
	(void)state;
	check_all(1, 1, 0, 1);
	check_all(7, 3, 58, 7);
	check_all(64, TOKENS, 0, 64);
	check_all(300, 17, 5, 300);
}

static void gather_strides(void **state)
{
	(void)state;
	check_all(33, 20, 41, 50);
	check_all(1024, 9, 1, D_MAX);
	check_all(40, 8, 0, 0);
	check_all(33, 5, 2, 0);
}

/* In bf16, where the device computes with it: what the f32 rows round to. */
static void check_half(uint32_t d_model, bool norm, ufm_dtype dtype)
{
	gather_case c = {d_model, 20, 3, d_model, dtype, true, norm, false};
	size_t count = (size_t)c.rows * d_model;
	uint16_t *halves = alloc_zeroed(count + 1, sizeof *halves);

	assert_non_null(halves);
	make_inputs(&c);
	ufm_gather_args args = {
		.x = dtype == UFM_F32 ? upload(data.x, TOKENS * (size_t)d_model * 4)
	                          : upload(data.bits, TOKENS * (size_t)d_model * 2),
		.x_stride = d_model,
		.x_dtype = dtype,
		.index = upload(data.index, sizeof data.index),
		.rows = c.rows,
		.d_model = d_model,
		.norm_weight = norm ? upload(data.norm, d_model * 4) : 0,
		.norm_eps = EPS,
		.out = device_alloc(count * 4),
	};
	OK(the.backend->gather(the.stream, &args));
	download(data.out, args.out, count * 4);
	args.out_dtype = UFM_BF16;
	args.out = device_alloc((count + 1) * 2);
	OK(the.backend->gather(the.stream, &args));
	download(halves, args.out, (count + 1) * 2);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(halves[i], bf16_from_f32(data.out[i]));
	assert_int_equal(halves[count], 0xffff); /* nothing past the end */
	alloc_free(halves);
}

static void gather_halves(void **state)
{
	static const uint32_t widths[] = {1, 7, 64, 300, 2052};

	(void)state;
	if (!(the.info.math >> UFM_MATH_BF16 & 1u))
		return;
	for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
		check_half(widths[i], false, UFM_F32);
		check_half(widths[i], true, UFM_BF16);
	}
}

/* Where no product takes such rows, none are made. */
static void gather_refuses_dtypes(void **state)
{
	bool has_bf16 = the.info.math >> UFM_MATH_BF16 & 1u;
	ufm_gather_args args = {.x = device_alloc(64),
	                        .x_dtype = UFM_F32,
	                        .rows = 1,
	                        .d_model = 4,
	                        .out = device_alloc(64),
	                        .out_dtype = UFM_F16};

	(void)state;
	FAILS(the.backend->gather(the.stream, &args), has_bf16 ? UFM_EINVAL : UFM_EUNSUPPORTED);
	args.out_dtype = UFM_F32;
	OK(the.backend->gather(the.stream, &args));
}

static void gather_no_rows(void **state)
{
	(void)state;
	check_all(16, 0, 0, 16);
}

/* A zero row is 0 / sqrt(eps), not NaN. */
static void gather_zero_row(void **state)
{
	(void)state;
	float zeros[40] = {0}, ones[40], out[40];

	for (uint32_t i = 0; i < 40; i++)
		ones[i] = 1.0f;
	ufm_gather_args args = {
		.x = upload(zeros, sizeof zeros),
		.x_stride = 40,
		.x_dtype = UFM_F32,
		.rows = 1,
		.d_model = 40,
		.norm_weight = upload(ones, sizeof ones),
		.norm_eps = EPS,
		.out = device_alloc(sizeof out),
	};
	OK(the.backend->gather(the.stream, &args));
	download(out, args.out, sizeof out);
	for (uint32_t i = 0; i < 40; i++)
		assert_true(out[i] == 0.0f);
}

/* From page-locked host memory and to it, as the CPU beside a device gets and gives its rows. */
static void gather_host_memory(void **state)
{
	(void)state;
	enum { ROWS = 13, WIDTH = 100 };
	float *in = host_alloc(ROWS * WIDTH * sizeof *in),
		  *out = host_alloc(ROWS * WIDTH * sizeof *out);
	ufm_devptr middle = device_alloc(ROWS * WIDTH * sizeof *in), in_view, out_view;

	random_f32(in, ROWS * WIDTH, 3.0f);
	OK(the.backend->host_view(the.device, in, &in_view));
	OK(the.backend->host_view(the.device, out, &out_view));
	ufm_gather_args args = {.x = in_view,
	                        .x_stride = WIDTH,
	                        .x_dtype = UFM_F32,
	                        .first = 2,
	                        .rows = ROWS - 2,
	                        .d_model = WIDTH,
	                        .out = middle};
	OK(the.backend->gather(the.stream, &args));
	args.x = middle;
	args.first = 0;
	args.out = out_view + sizeof(float) * WIDTH;
	OK(the.backend->gather(the.stream, &args));
	OK(the.backend->stream_sync(the.stream));
	assert_memory_equal(out + WIDTH, in + 2 * WIDTH, (ROWS - 2) * WIDTH * sizeof *in);
	assert_true(isnan(out[WIDTH - 1]) && isnan(out[(ROWS - 1) * WIDTH]));
}

static const struct CMUnitTest cases[] = {
	CASE(gather_shapes),         CASE(gather_strides),     CASE(gather_no_rows),
	CASE(gather_zero_row),       CASE(gather_host_memory), CASE(gather_halves),
	CASE(gather_refuses_dtypes),
};
const case_list gather_cases = CASE_LIST(cases);
