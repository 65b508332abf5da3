/* SPDX-License-Identifier: MIT */
/* experts: every activation and parameter, with biases on all matrices and without, of few rows and many. */
#include "expert_bank.h"

#include "base/alloc.h"
#include "support/arithmetic.h"

/* One and two rows, up to 8, up to 16, up to 24 and beyond, which devices compute by kernels of their own. */
static const uint32_t few[3] = {1, 2, 0}, many[6] = {3, 8, 9, 16, 19, 41};

static void check_shapes(const arithmetic *a, bool biased, ufm_dtype dtype)
{
	ufm_expert_desc even = arithmetic_desc(a, biased, dtype, 64, 80);
	ufm_expert_desc odd = arithmetic_desc(a, biased, dtype, 41, 67);

	expert_bank_check(a->name, &even, few, 3);
	expert_bank_check(a->name, &even, many, 6);
	expert_bank_check(a->name, &odd, few, 3);
	expert_bank_check(a->name, &odd, many, 6);
}

static void check_all(ufm_dtype dtype, bool biased)
{
	for (size_t i = 0; i < arithmetic_count; i++)
		check_shapes(&arithmetics[i], biased, dtype);
}

static void arithmetic_f32(void **state)
{
	(void)state;
	check_all(UFM_F32, false);
}

static void arithmetic_f32_biased(void **state)
{
	(void)state;
	check_all(UFM_F32, true);
}

static void arithmetic_bf16(void **state)
{
	(void)state;
	check_all(UFM_BF16, false);
}

static void arithmetic_bf16_biased(void **state)
{
	(void)state;
	check_all(UFM_BF16, true);
}

/* So many units of experts of up to 16 rows that their columns need not be split. */
static void arithmetic_wide(void **state)
{
	const uint32_t rows[BANK_ENTRIES_MAX] = {3, 5, 16, 9, 4, 7, 12, 3, 15, 8, 6, 11, 10, 3, 14, 13};
	const arithmetic *a = arithmetic_named("clamped, alpha, up + 1");

	(void)state;
	for (ufm_dtype dtype = UFM_F32; dtype <= UFM_BF16; dtype++) {
		ufm_expert_desc desc = arithmetic_desc(a, true, dtype, 40, 340);
		expert_bank_check(a->name, &desc, rows, BANK_ENTRIES_MAX);
	}
}

/* Together and one by one, and in one entry or several: a row's bits are the same. */
static void check_grouping(const arithmetic *a, ufm_dtype dtype)
{
	const uint32_t rows[7] = {5, 1, 0, 23, 2, 11, 33};
	ufm_expert_desc desc = arithmetic_desc(a, true, dtype, 48, 72);
	expert_bank k;

	expert_bank_open(&k, &desc, rows, 7);
	size_t bytes = expert_bank_y_bytes(&k);
	expert_bank_run(&k, 0, 7, k.y_at);
	download(k.y, k.y_at, bytes);
	OK(the.backend->fill(the.stream, k.y_at, 0xff, bytes));
	for (uint32_t e = 7; e-- > 0;)
		expert_bank_run(&k, e, 1, k.y_at);
	download(k.again, k.y_at, bytes);
	assert_memory_equal(k.again, k.y, bytes);
	/* The last two entries are experts of their own; the fourth's rows are cut after the second. */
	ufm_expert_rows whole = k.table[3];
	k.table[0] = (ufm_expert_rows){whole.block, whole.row, 2};
	k.table[1] = (ufm_expert_rows){whole.block, whole.row + 2, whole.rows - 2};
	const uint32_t call_rows[2] = {whole.rows, whole.rows};
	k.call_rows = call_rows;
	OK(the.backend->fill(the.stream, k.y_at, 0xff, bytes));
	expert_bank_run(&k, 0, 2, k.y_at);
	download(k.again, k.y_at, bytes);
	size_t at = (size_t)whole.row * desc.d_model, count = (size_t)whole.rows * desc.d_model;
	assert_memory_equal(k.again + at, k.y + at, count * sizeof *k.y);
	expert_bank_close(&k);
}

static void arithmetic_grouping(void **state)
{
	(void)state;
	for (size_t i = 0; i < arithmetic_count; i++) {
		check_grouping(&arithmetics[i], UFM_F32);
		check_grouping(&arithmetics[i], UFM_BF16);
	}
}

/* Entries on the device, as a wholly resident layer has them. */
static void arithmetic_device_entries(void **state)
{
	const uint32_t rows[5] = {5, 1, 33, 2, 17};
	const arithmetic *a = arithmetic_named("clamped, alpha, up + 1");

	(void)state;
	for (ufm_dtype dtype = UFM_F32; dtype <= UFM_BF16; dtype++) {
		ufm_expert_desc desc = arithmetic_desc(a, true, dtype, 96, 208);
		expert_bank k;
		expert_bank_open(&k, &desc, rows, 5);
		size_t bytes = expert_bank_y_bytes(&k);
		expert_bank_run(&k, 0, 5, k.y_at);
		download(k.y, k.y_at, bytes);
		OK(the.backend->fill(the.stream, k.y_at, 0xff, bytes));
		ufm_experts_args args = {.desc = k.desc,
		                         .entry_count = 5,
		                         .x = k.x_at,
		                         .hidden = k.hidden_at,
		                         .y = k.y_at,
		                         .device_entries = upload(k.table, 5 * sizeof *k.table),
		                         .rows_max = 33};
		OK(the.backend->experts(the.stream, &args));
		download(k.again, k.y_at, bytes);
		assert_memory_equal(k.again, k.y, bytes);
		expert_bank_close(&k);
	}
}

static const struct CMUnitTest cases[] = {
	CASE(arithmetic_f32),
	CASE(arithmetic_f32_biased),
	CASE(arithmetic_bf16),
	CASE(arithmetic_bf16_biased),
	CASE(arithmetic_wide),
	CASE(arithmetic_grouping),
	CASE(arithmetic_device_entries),
};
const case_list arithmetic_cases = CASE_LIST(cases);
