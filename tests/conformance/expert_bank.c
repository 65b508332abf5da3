/* SPDX-License-Identifier: MIT */
#include "expert_bank.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "support/arithmetic.h"
#include "support/storage.h"

/* ------------------------------------------------------------------ inputs */

static bool is_coded(const ufm_expert_desc *desc)
{
	return desc->parts[0].format || desc->parts[0].dtype == UFM_F16;
}

static void fill_block(const ufm_expert_desc *desc, unsigned char *block)
{
	uint64_t seed;

	if (is_coded(desc)) {
		random_f32((float *)(void *)&seed, sizeof seed / sizeof(float), 1.0f);
		storage_fill(desc, block, seed);
		return;
	}
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

void expert_bank_open(expert_bank *k, const ufm_expert_desc *desc, const uint32_t *rows,
                      uint32_t entries)
{
	uint32_t d_model = desc->d_model, d_hidden = desc->d_hidden;

	memset(k, 0, sizeof *k);
	k->desc = host_alloc(sizeof *k->desc);
	k->table = host_alloc(BANK_ENTRIES_MAX * sizeof *k->table);
	k->entries = entries;
	*k->desc = *desc;
	k->plain = storage_plain_desc(desc);
	for (uint32_t e = 0; e < entries; e++) {
		k->blocks[e] = alloc_zeroed(1, k->desc->block_bytes);
		assert_non_null(k->blocks[e]);
		fill_block(k->desc, k->blocks[e]);
		k->plain_blocks[e] = alloc_zeroed(1, k->plain.block_bytes);
		assert_non_null(k->plain_blocks[e]);
		storage_expand(k->desc, k->blocks[e], &k->plain, k->plain_blocks[e]);
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

void expert_bank_close(expert_bank *k)
{
	for (uint32_t e = 0; e < k->entries; e++) {
		alloc_free(k->blocks[e]);
		alloc_free(k->plain_blocks[e]);
	}
	alloc_free(k->x);
	alloc_free(k->y);
	alloc_free(k->again);
	alloc_free(k->ref);
	alloc_free(k->hidden);
}

void expert_bank_run(const expert_bank *k, uint32_t first, uint32_t count, ufm_devptr y)
{
	ufm_experts_args args = {
		.desc = k->desc,
		.entries = k->table + first,
		.entry_count = count,
		.x = k->x_at,
		.hidden = k->hidden_at,
		.y = y,
		.math = k->math,
		.x_dtype = k->x_dtype,
		.call_rows = k->call_rows,
	};

	OK(the.backend->experts(the.stream, &args));
}

size_t expert_bank_y_bytes(const expert_bank *k)
{
	return (size_t)k->rows * k->desc->d_model * sizeof(float);
}

/* ------------------------------------------------------------------ float64 reference */

static double element(const expert_bank *k, uint32_t entry, ufm_role role, size_t index)
{
	const ufm_part *part = ufm_expert_part(&k->plain, role);

	if (!part)
		return 0.0;
	const void *at = k->plain_blocks[entry] + part->offset_bytes;
	return ((const float *)at)[index];
}

static double hidden_unit(const expert_bank *k, uint32_t entry, ufm_role matrix, ufm_role bias,
                          uint32_t u, const float *x)
{
	double sum = element(k, entry, bias, u);

	for (uint32_t c = 0; c < k->desc->d_model; c++)
		sum += element(k, entry, matrix, (size_t)u * k->desc->d_model + c) * (double)x[c];
	return sum;
}

static void reference_row(expert_bank *k, uint32_t entry, const float *x, double *y)
{
	const ufm_expert_desc *d = k->desc;
	bool gated = ufm_expert_part(d, UFM_ROLE_GATE) != NULL;

	for (uint32_t u = 0; u < d->d_hidden; u++) {
		double up = hidden_unit(k, entry, UFM_ROLE_UP, UFM_ROLE_UP_BIAS, u, x);
		double gate = gated ? hidden_unit(k, entry, UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS, u, x) : 0.0;
		k->hidden[u] = arithmetic_hidden(d, gate, up);
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

static void reference(expert_bank *k)
{
	for (uint32_t e = 0; e < k->entries; e++) {
		for (uint32_t r = k->table[e].row; r < k->table[e].row + k->table[e].rows; r++)
			reference_row(k, e, k->x + (size_t)r * k->desc->d_model,
			              k->ref + (size_t)r * k->desc->d_model);
	}
}

/* ------------------------------------------------------------------ checks */

/* Weights and inputs of these cases: what an arithmetic may be off by, of the largest value. */
static double limit_of(ufm_math math, ufm_dtype dtype)
{
	bool rounds = math == UFM_MATH_BF16 || (math == UFM_MATH_TF32 && dtype != UFM_BF16);

	return rounds ? 1e-2 : 1e-5;
}

static double largest_of(const double *values, size_t count)
{
	double largest = 0.0;

	for (size_t i = 0; i < count; i++)
		largest = fabs(values[i]) > largest ? fabs(values[i]) : largest;
	return largest;
}

static void check_math(const char *what, ufm_math math, const ufm_expert_desc *desc,
                       const uint32_t *rows, uint32_t entries)
{
	expert_bank k;
	ufm_dtype dtype = desc->parts[0].dtype;

	expert_bank_open(&k, desc, rows, entries);
	k.math = math;
	reference(&k);
	expert_bank_run(&k, 0, entries, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	double e = error_of(k.y, k.ref, (size_t)k.rows * desc->d_model);
	/* With one weight all rows may be alike and the bias cancel them: then what is off is what rounding takes
	 * from the terms, not from their sum. */
	if (desc->d_model == 1 && desc->d_hidden == 1)
		e *= largest_of(k.ref, k.rows) / k.terms;
	if (!(e <= limit_of(math, dtype)))
		fail_msg("%s, dtype %d, math %d, %u parts, %u x %u, %u entries: error %g, seed %llu", what,
		         (int)dtype, (int)math, desc->part_count, desc->d_model, desc->d_hidden, entries, e,
		         (unsigned long long)the.seed);
	expert_bank_close(&k);
}

void expert_bank_check(const char *what, const ufm_expert_desc *desc, const uint32_t *rows,
                       uint32_t entries)
{
	assert_true(the.info.math >> UFM_MATH_FP32 & 1u);
	for (ufm_math math = UFM_MATH_FP32; math <= UFM_MATH_BF16; math++) {
		memory_mark before = memory_now();
		if (!(the.info.math >> math & 1u))
			continue;
		check_math(what, math, desc, rows, entries);
		memory_back_to(before);
	}
}
