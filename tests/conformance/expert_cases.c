/* SPDX-License-Identifier: MIT */
/* experts: every kind and dtype against float64, and the same bits however entries are grouped. */
#include "conformance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bf16.h"

#define ENTRIES_MAX 16

typedef struct bank {
	ufm_expert_desc *desc;
	uint32_t entries, rows;
	unsigned char *blocks[ENTRIES_MAX];
	ufm_expert_rows *table; /* page-locked */
	float *x, *y, *again;
	double *ref, *hidden;
	double terms; /* of the largest sum that the reference has formed, their sizes added up */
	ufm_devptr x_at, hidden_at, y_at;
	ufm_math math; /* 0: what is usual */
} bank;

/* ------------------------------------------------------------------ inputs */

static void fill_block(const ufm_expert_desc *desc, unsigned char *block)
{
	for (uint32_t p = 0; p < desc->part_count; p++) {
		const ufm_part *part = &desc->parts[p];
		size_t count = (size_t)part->rows * part->cols;
		void *at = block + part->offset_bytes;
		float scale = (float)(1.7 / sqrt(part->cols));
		if (part->dtype == UFM_F32)
			random_f32(at, count, scale);
		else
			random_bf16(at, count, scale);
	}
}

static void bank_open(bank *k, ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                      uint32_t d_hidden, const uint32_t *rows, uint32_t entries)
{
	memset(k, 0, sizeof *k);
	k->desc = host_alloc(sizeof *k->desc);
	k->table = host_alloc(ENTRIES_MAX * sizeof *k->table);
	k->entries = entries;
	UFM_STRUCT_INIT(k->desc);
	OK(ufm_expert_desc_init(k->desc, kind, d_model, d_hidden, dtype));
	for (uint32_t e = 0; e < entries; e++) {
		k->blocks[e] = alloc_zeroed(1, k->desc->block_bytes);
		assert_non_null(k->blocks[e]);
		fill_block(k->desc, k->blocks[e]);
		k->table[e] =
			(ufm_expert_rows){upload(k->blocks[e], k->desc->block_bytes), k->rows, rows[e]};
		k->rows += rows[e];
	}
	size_t count = (size_t)k->rows * d_model;
	k->x = alloc_zeroed(count, 4);
	k->y = alloc_zeroed(count, 4);
	k->again = alloc_zeroed(count, 4);
	k->ref = alloc_zeroed(count, sizeof(double));
	k->hidden = alloc_zeroed(d_hidden, sizeof(double));
	assert_true(k->x && k->y && k->again && k->ref && k->hidden);
	random_f32(k->x, count, 2.0f);
	k->x_at = upload(k->x, count * 4);
	k->hidden_at = device_alloc(the.backend->hidden_bytes(k->desc, k->rows));
	k->y_at = device_alloc(count * 4);
}

static void bank_close(bank *k)
{
	for (uint32_t e = 0; e < k->entries; e++)
		alloc_free(k->blocks[e]);
	alloc_free(k->x);
	alloc_free(k->y);
	alloc_free(k->again);
	alloc_free(k->ref);
	alloc_free(k->hidden);
}

/* Entries first … first + count - 1 into y_at. */
static void run(const bank *k, uint32_t first, uint32_t count, ufm_devptr y)
{
	ufm_experts_args args = {
		.desc = k->desc,
		.entries = k->table + first,
		.entry_count = count,
		.x = k->x_at,
		.hidden = k->hidden_at,
		.y = y,
		.math = k->math,
	};

	OK(the.backend->experts(the.stream, &args));
}

static size_t y_bytes(const bank *k)
{
	return (size_t)k->rows * k->desc->d_model * sizeof(float);
}

/* ------------------------------------------------------------------ float64 reference */

static double element(const bank *k, uint32_t entry, ufm_role role, size_t index)
{
	const ufm_part *part = ufm_expert_part(k->desc, role);

	if (!part)
		return 0.0;
	const void *at = k->blocks[entry] + part->offset_bytes;
	if (part->dtype == UFM_F32)
		return ((const float *)at)[index];
	return bf16_to_f32(((const uint16_t *)at)[index]);
}

static double hidden_unit(const bank *k, uint32_t entry, ufm_role matrix, ufm_role bias, uint32_t u,
                          const float *x)
{
	double sum = element(k, entry, bias, u);

	for (uint32_t c = 0; c < k->desc->d_model; c++)
		sum += element(k, entry, matrix, (size_t)u * k->desc->d_model + c) * (double)x[c];
	return sum;
}

static double act(ufm_activation activation, double x)
{
	return activation == UFM_ACT_GELU ? x * 0.5 * erfc(-x / sqrt(2.0)) : x / (1.0 + exp(-x));
}

static void reference_row(bank *k, uint32_t entry, const float *x, double *y)
{
	const ufm_expert_desc *d = k->desc;
	bool gated = ufm_expert_part(d, UFM_ROLE_GATE) != NULL;

	for (uint32_t u = 0; u < d->d_hidden; u++) {
		double up = hidden_unit(k, entry, UFM_ROLE_UP, UFM_ROLE_UP_BIAS, u, x);
		k->hidden[u] = gated ? act(d->activation,
		                           hidden_unit(k, entry, UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS, u, x)) *
		                           up
		                     : act(d->activation, up);
	}
	for (uint32_t c = 0; c < d->d_model; c++) {
		y[c] = element(k, entry, UFM_ROLE_DOWN_BIAS, c);
		double terms = fabs(y[c]);
		for (uint32_t u = 0; u < d->d_hidden; u++) {
			double term =
				element(k, entry, UFM_ROLE_DOWN, (size_t)c * d->d_hidden + u) * k->hidden[u];
			y[c] += term;
			terms += fabs(term);
		}
		k->terms = terms > k->terms ? terms : k->terms;
	}
}

static void reference(bank *k)
{
	for (uint32_t e = 0; e < k->entries; e++) {
		for (uint32_t r = k->table[e].row; r < k->table[e].row + k->table[e].rows; r++)
			reference_row(k, e, k->x + (size_t)r * k->desc->d_model,
			              k->ref + (size_t)r * k->desc->d_model);
	}
}

/* ------------------------------------------------------------------ cases */

static const struct {
	ufm_expert_kind kind;
	ufm_dtype dtype;
} variants[] = {{UFM_EXPERT_MLP, UFM_F32},       {UFM_EXPERT_MLP_BIAS, UFM_F32},
                {UFM_EXPERT_GATED, UFM_F32},     {UFM_EXPERT_MLP, UFM_BF16},
                {UFM_EXPERT_MLP_BIAS, UFM_BF16}, {UFM_EXPERT_GATED, UFM_BF16}};

#define VARIANTS (sizeof variants / sizeof variants[0])

/* Weights and inputs of these cases: what an arithmetic may be off by, of the largest value. */
static double limit_of(ufm_math math, ufm_dtype dtype)
{
	bool rounds = math == UFM_MATH_BF16 || (math == UFM_MATH_TF32 && dtype == UFM_F32);

	return rounds ? 1e-2 : 1e-5;
}

static double largest_of(const double *values, size_t count)
{
	double largest = 0.0;

	for (size_t i = 0; i < count; i++)
		largest = fabs(values[i]) > largest ? fabs(values[i]) : largest;
	return largest;
}

static void check_math(size_t v, ufm_math math, uint32_t d_model, uint32_t d_hidden,
                       const uint32_t *rows, uint32_t entries)
{
	bank k;

	bank_open(&k, variants[v].kind, variants[v].dtype, d_model, d_hidden, rows, entries);
	k.math = math;
	reference(&k);
	run(&k, 0, entries, k.y_at);
	download(k.y, k.y_at, y_bytes(&k));
	double e = error_of(k.y, k.ref, (size_t)k.rows * d_model);
	/* With one weight all rows may be alike and the bias cancel them: then what is off is what rounding takes
	 * from the terms, not from their sum. */
	if (d_model == 1 && d_hidden == 1)
		e *= largest_of(k.ref, k.rows) / k.terms;
	if (!(e <= limit_of(math, variants[v].dtype)))
		fail_msg("variant %zu, math %d, %u x %u, %u entries: error %g, seed %llu", v, (int)math,
		         d_model, d_hidden, entries, e, (unsigned long long)the.seed);
	bank_close(&k);
}

/* Every arithmetic that the device says it has. */
static void check(size_t v, uint32_t d_model, uint32_t d_hidden, const uint32_t *rows,
                  uint32_t entries)
{
	assert_true(the.info.math >> UFM_MATH_FP32 & 1u);
	for (ufm_math math = UFM_MATH_FP32; math <= UFM_MATH_BF16; math++) {
		if (the.info.math >> math & 1u)
			check_math(v, math, d_model, d_hidden, rows, entries);
	}
}

static void expert_against_float64(void **state)
{
	(void)state;
	const uint32_t single[1] = {20}, few[5] = {3, 0, 1, 17, 8};

	for (size_t v = 0; v < VARIANTS; v++) {
		check(v, 1, 1, single, 1);
		check(v, 40, 72, few, 5);
		check(v, 67, 131, few, 5);
	}
}

static void expert_larger_experts(void **state)
{
	(void)state;
	const uint32_t rows[3] = {2, 9, 1};

	check(1, 256, 520, rows, 3);
	check(5, 264, 300, rows, 3);
}

static void expert_many_entries(void **state)
{
	(void)state;
	const uint32_t rows[ENTRIES_MAX] = {1, 2, 0, 5, 1, 1, 40, 0, 3, 1, 7, 1, 16, 2, 0, 1};

	check(1, 48, 64, rows, ENTRIES_MAX);
	check(5, 48, 64, rows, ENTRIES_MAX);
}

/* More than one launch takes: experts that share rows of x and one workspace, in turn few and many. */
static void expert_hundreds_of_entries(void **state)
{
	(void)state;
	const uint32_t rows[3] = {2, 1, 3};
	enum { COPIES = 211, ENTRIES = 3 * COPIES };
	bank k;

	bank_open(&k, UFM_EXPERT_GATED, UFM_BF16, 40, 24, rows, 3);
	run(&k, 0, 3, k.y_at);
	download(k.y, k.y_at, y_bytes(&k));
	ufm_expert_rows *table = host_alloc(ENTRIES * sizeof *table);
	size_t many = (size_t)COPIES * k.rows;
	ufm_experts_args args = {.desc = k.desc, .entries = table, .entry_count = ENTRIES};
	args.x = device_alloc(COPIES * y_bytes(&k));
	args.y = device_alloc(COPIES * y_bytes(&k));
	args.hidden = device_alloc(the.backend->hidden_bytes(k.desc, (uint32_t)many));
	for (uint32_t c = 0; c < COPIES; c++) {
		OK(the.backend->copy(the.stream, UFM_COPY_D2D, args.x + c * y_bytes(&k), k.x_at,
		                     y_bytes(&k)));
		for (uint32_t e = 0; e < 3; e++)
			table[3 * c + e] =
				(ufm_expert_rows){k.table[e].block, c * k.rows + k.table[e].row, rows[e]};
	}
	OK(the.backend->experts(the.stream, &args));
	for (uint32_t c = 0; c < COPIES; c++) {
		download(k.again, args.y + c * y_bytes(&k), y_bytes(&k));
		assert_memory_equal(k.again, k.y, y_bytes(&k));
	}
	bank_close(&k);
}

/* Together, alone, and in two groups: a row's bits are the same. */
static void expert_grouping(void **state)
{
	(void)state;
	const uint32_t rows[7] = {5, 1, 0, 23, 2, 11, 1};

	for (size_t v = 0; v < VARIANTS; v++) {
		bank k;
		bank_open(&k, variants[v].kind, variants[v].dtype, 96, 208, rows, 7);
		run(&k, 0, 7, k.y_at);
		download(k.y, k.y_at, y_bytes(&k));
		OK(the.backend->fill(the.stream, k.y_at, 0xff, y_bytes(&k)));
		for (uint32_t e = 7; e-- > 0;)
			run(&k, e, 1, k.y_at);
		download(k.again, k.y_at, y_bytes(&k));
		assert_memory_equal(k.again, k.y, y_bytes(&k));
		OK(the.backend->fill(the.stream, k.y_at, 0xff, y_bytes(&k)));
		run(&k, 3, 4, k.y_at);
		run(&k, 0, 3, k.y_at);
		download(k.again, k.y_at, y_bytes(&k));
		assert_memory_equal(k.again, k.y, y_bytes(&k));
		bank_close(&k);
	}
}

/* Entries in any order over the rows, and y in page-locked host memory. */
static void expert_order_and_host_output(void **state)
{
	(void)state;
	const uint32_t rows[4] = {3, 8, 1, 5};
	ufm_devptr view = 0;
	bank k;

	bank_open(&k, UFM_EXPERT_MLP_BIAS, UFM_F32, 50, 90, rows, 4);
	run(&k, 0, 4, k.y_at);
	download(k.y, k.y_at, y_bytes(&k));
	ufm_expert_rows first = k.table[0];
	k.table[0] = k.table[3];
	k.table[3] = first;
	float *host = host_alloc(y_bytes(&k));
	OK(the.backend->host_view(the.device, host, &view));
	run(&k, 0, 4, view);
	OK(the.backend->stream_sync(the.stream));
	assert_memory_equal(host, k.y, y_bytes(&k));
	bank_close(&k);
}

/* Entries that the host never saw: the same bits; those without rows touch nothing. */
static void expert_device_entries(void **state)
{
	(void)state;
	const uint32_t rows[9] = {5, 1, 33, 2, 1, 17, 0, 0, 0};

	for (size_t v = 0; v < VARIANTS; v++) {
		bank k;
		bank_open(&k, variants[v].kind, variants[v].dtype, 96, 208, rows, 9);
		run(&k, 0, 6, k.y_at);
		download(k.y, k.y_at, y_bytes(&k));
		OK(the.backend->fill(the.stream, k.y_at, 0xff, y_bytes(&k)));
		for (uint32_t e = 6; e < 9; e++)
			k.table[e] = (ufm_expert_rows){0, 0, 0};
		ufm_experts_args args = {.desc = k.desc,
		                         .entry_count = 9,
		                         .x = k.x_at,
		                         .hidden = k.hidden_at,
		                         .y = k.y_at,
		                         .device_entries = upload(k.table, 9 * sizeof *k.table),
		                         .rows_max = 33};
		OK(the.backend->experts(the.stream, &args));
		download(k.again, k.y_at, y_bytes(&k));
		assert_memory_equal(k.again, k.y, y_bytes(&k));
		bank_close(&k);
	}
}

static void expert_no_entries(void **state)
{
	(void)state;
	const uint32_t none[2] = {0, 0}, some[1] = {4};
	bank k;

	bank_open(&k, UFM_EXPERT_GATED, UFM_F32, 16, 16, none, 2);
	run(&k, 0, 2, k.y_at);
	run(&k, 0, 0, k.y_at);
	OK(the.backend->stream_sync(the.stream));
	assert_int_equal(the.backend->hidden_bytes(k.desc, 0), 0);
	bank_close(&k);
	bank_open(&k, UFM_EXPERT_GATED, UFM_F32, 16, 16, some, 1);
	run(&k, 0, 0, k.y_at);
	download(k.y, k.y_at, y_bytes(&k));
	for (uint32_t i = 0; i < 4 * 16; i++)
		assert_true(isnan(k.y[i])); /* untouched */
	bank_close(&k);
}

/* Two streams compute at once, each with its own workspace. */
static void expert_two_streams(void **state)
{
	(void)state;
	const uint32_t rows[5] = {2, 7, 1, 12, 3};
	ufm_stream *other;
	bank a, c;

	OK(the.backend->stream_open(the.device, NULL, &other));
	bank_open(&a, UFM_EXPERT_MLP_BIAS, UFM_F32, 80, 160, rows, 5);
	bank_open(&c, UFM_EXPERT_GATED, UFM_BF16, 80, 160, rows, 5);
	run(&a, 0, 5, a.y_at);
	run(&c, 0, 5, c.y_at);
	download(a.y, a.y_at, y_bytes(&a));
	download(c.y, c.y_at, y_bytes(&c));
	ufm_experts_args args = {.desc = c.desc,
	                         .entries = c.table,
	                         .entry_count = 5,
	                         .x = c.x_at,
	                         .hidden = c.hidden_at,
	                         .y = c.y_at};
	for (uint32_t round = 0; round < 10; round++) {
		OK(the.backend->experts(other, &args));
		run(&a, 0, 5, a.y_at);
	}
	OK(the.backend->stream_sync(other));
	download(a.again, a.y_at, y_bytes(&a));
	download(c.again, c.y_at, y_bytes(&c));
	assert_memory_equal(a.again, a.y, y_bytes(&a));
	assert_memory_equal(c.again, c.y, y_bytes(&c));
	the.backend->stream_close(other);
	bank_close(&a);
	bank_close(&c);
}

static const struct CMUnitTest cases[] = {
	CASE(expert_against_float64), CASE(expert_larger_experts),        CASE(expert_many_entries),
	CASE(expert_grouping),        CASE(expert_order_and_host_output), CASE(expert_no_entries),
	CASE(expert_two_streams),     CASE(expert_hundreds_of_entries),   CASE(expert_device_entries),
};
const case_list expert_cases = CASE_LIST(cases);
