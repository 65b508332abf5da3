/* SPDX-License-Identifier: MIT */
/* experts: every kind and dtype against float64, and the same bits however entries are grouped. */
#include "expert_bank.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"

#define ENTRIES_MAX BANK_ENTRIES_MAX

typedef expert_bank bank;

static void bank_open(bank *k, ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                      uint32_t d_hidden, const uint32_t *rows, uint32_t entries)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	OK(ufm_expert_desc_init(&desc, kind, d_model, d_hidden, dtype));
	expert_bank_open(k, &desc, rows, entries);
}

static const struct {
	ufm_expert_kind kind;
	ufm_dtype dtype;
} variants[] = {{UFM_EXPERT_MLP, UFM_F32},       {UFM_EXPERT_MLP_BIAS, UFM_F32},
                {UFM_EXPERT_GATED, UFM_F32},     {UFM_EXPERT_MLP, UFM_BF16},
                {UFM_EXPERT_MLP_BIAS, UFM_BF16}, {UFM_EXPERT_GATED, UFM_BF16}};

#define VARIANTS (sizeof variants / sizeof variants[0])

static void check(size_t v, uint32_t d_model, uint32_t d_hidden, const uint32_t *rows,
                  uint32_t entries)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	char what[32];

	OK(ufm_expert_desc_init(&desc, variants[v].kind, d_model, d_hidden, variants[v].dtype));
	snprintf(what, sizeof what, "variant %zu", v);
	expert_bank_check(what, &desc, rows, entries);
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
	expert_bank_run(&k, 0, 3, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	ufm_expert_rows *table = host_alloc(ENTRIES * sizeof *table);
	size_t many = (size_t)COPIES * k.rows;
	ufm_experts_args args = {.desc = k.desc, .entries = table, .entry_count = ENTRIES};
	args.x = device_alloc(COPIES * expert_bank_y_bytes(&k));
	args.y = device_alloc(COPIES * expert_bank_y_bytes(&k));
	args.hidden = device_alloc(the.backend->hidden_bytes(k.desc, (uint32_t)many));
	for (uint32_t c = 0; c < COPIES; c++) {
		OK(the.backend->copy(the.stream, UFM_COPY_D2D, args.x + c * expert_bank_y_bytes(&k), k.x_at,
		                     expert_bank_y_bytes(&k)));
		for (uint32_t e = 0; e < 3; e++)
			table[3 * c + e] =
				(ufm_expert_rows){k.table[e].block, c * k.rows + k.table[e].row, rows[e]};
	}
	OK(the.backend->experts(the.stream, &args));
	for (uint32_t c = 0; c < COPIES; c++) {
		download(k.again, args.y + c * expert_bank_y_bytes(&k), expert_bank_y_bytes(&k));
		assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
	}
	expert_bank_close(&k);
}

/* Together, alone, and in two groups: a row's bits are the same. */
static void expert_grouping(void **state)
{
	(void)state;
	const uint32_t rows[7] = {5, 1, 0, 23, 2, 11, 1};

	for (size_t v = 0; v < VARIANTS; v++) {
		bank k;
		bank_open(&k, variants[v].kind, variants[v].dtype, 96, 208, rows, 7);
		expert_bank_run(&k, 0, 7, k.y_at);
		download(k.y, k.y_at, expert_bank_y_bytes(&k));
		OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
		for (uint32_t e = 7; e-- > 0;)
			expert_bank_run(&k, e, 1, k.y_at);
		download(k.again, k.y_at, expert_bank_y_bytes(&k));
		assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
		OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
		expert_bank_run(&k, 3, 4, k.y_at);
		expert_bank_run(&k, 0, 3, k.y_at);
		download(k.again, k.y_at, expert_bank_y_bytes(&k));
		assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
		expert_bank_close(&k);
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
	expert_bank_run(&k, 0, 4, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	ufm_expert_rows first = k.table[0];
	k.table[0] = k.table[3];
	k.table[3] = first;
	float *host = host_alloc(expert_bank_y_bytes(&k));
	OK(the.backend->host_view(the.device, host, &view));
	expert_bank_run(&k, 0, 4, view);
	OK(the.backend->stream_sync(the.stream));
	assert_memory_equal(host, k.y, expert_bank_y_bytes(&k));
	expert_bank_close(&k);
}

/* Entries that the host never saw: the same bits; those without rows touch nothing. */
static void expert_device_entries(void **state)
{
	(void)state;
	const uint32_t rows[9] = {5, 1, 33, 2, 1, 17, 0, 0, 0};

	for (size_t v = 0; v < VARIANTS; v++) {
		bank k;
		bank_open(&k, variants[v].kind, variants[v].dtype, 96, 208, rows, 9);
		expert_bank_run(&k, 0, 6, k.y_at);
		download(k.y, k.y_at, expert_bank_y_bytes(&k));
		OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
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
		download(k.again, k.y_at, expert_bank_y_bytes(&k));
		assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
		expert_bank_close(&k);
	}
}

/* Entries that the host never saw, a piece of the rows at a time: the same bits. */
static void check_window(size_t v, uint32_t piece)
{
	const uint32_t rows[6] = {5, 1, 133, 2, 40, 0};
	bank k;

	bank_open(&k, variants[v].kind, variants[v].dtype, 96, 208, rows, 6);
	expert_bank_run(&k, 0, 6, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
	ufm_experts_args args = {.desc = k.desc,
	                         .entry_count = 6,
	                         .hidden = k.hidden_at,
	                         .device_entries = upload(k.table, 6 * sizeof *k.table),
	                         .rows_max = 133};
	for (; args.row_first < k.rows; args.row_first += args.row_count) {
		args.row_count = k.rows - args.row_first < piece ? k.rows - args.row_first : piece;
		args.x = k.x_at + args.row_first * 96ull * sizeof(float);
		args.y = k.y_at + args.row_first * 96ull * sizeof(float);
		OK(the.backend->experts(the.stream, &args));
	}
	download(k.again, k.y_at, expert_bank_y_bytes(&k));
	assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
	expert_bank_close(&k);
}

static void expert_device_window(void **state)
{
	(void)state;
	for (size_t v = 0; v < VARIANTS; v++) {
		check_window(v, 7);
		check_window(v, 100);
		check_window(v, 181);
	}
}

/* Around the widths of tiles, with columns and units that end within one. */
static void expert_many_rows(void **state)
{
	(void)state;
	const uint32_t few[6] = {8, 9, 17, 32, 33, 64}, many[3] = {65, 128, 130}, most[2] = {257, 20};

	for (size_t v = 0; v < VARIANTS; v++) {
		check(v, 72, 40, few, 6);
		check(v, 136, 72, many, 3);
	}
	check(4, 328, 200, few, 6);
	check(5, 200, 264, most, 2);
}

/* An expert's rows in one entry, or in pieces of one call: the same bits. */
static void check_pieces(size_t v, ufm_math math)
{
	const uint32_t rows[2] = {300, 40}, cuts[6] = {1, 100, 64, 128, 7, 40};
	const uint32_t call_rows[6] = {300, 300, 300, 300, 300, 40};
	bank k;

	bank_open(&k, variants[v].kind, variants[v].dtype, 136, 200, rows, 2);
	k.math = math;
	expert_bank_run(&k, 0, 2, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
	ufm_devptr blocks[2] = {k.table[0].block, k.table[1].block};
	for (uint32_t i = 0, row = 0; i < 6; row += cuts[i++])
		k.table[i] = (ufm_expert_rows){blocks[i == 5], row, cuts[i]};
	for (uint32_t i = 0; i < 6; i += 2) {
		k.call_rows = call_rows + i;
		expert_bank_run(&k, i, 2, k.y_at);
	}
	download(k.again, k.y_at, expert_bank_y_bytes(&k));
	assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
	expert_bank_close(&k);
}

static void expert_pieces(void **state)
{
	(void)state;
	for (size_t v = 0; v < VARIANTS; v++) {
		for (ufm_math math = UFM_MATH_FP32; math <= UFM_MATH_BF16; math++)
			if (the.info.math >> math & 1u)
				check_pieces(v, math);
	}
}

/* Rows in bf16 are what the products make of rows in f32. */
static void check_halves(size_t v, uint32_t d_model, uint32_t d_hidden)
{
	const uint32_t rows[5] = {1, 9, 40, 150, 20};
	bank k;

	bank_open(&k, variants[v].kind, variants[v].dtype, d_model, d_hidden, rows, 5);
	k.math = UFM_MATH_BF16;
	expert_bank_run(&k, 0, 5, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	OK(the.backend->fill(the.stream, k.y_at, 0xff, expert_bank_y_bytes(&k)));
	ufm_gather_args args = {.x = k.x_at,
	                        .x_stride = d_model,
	                        .x_dtype = UFM_F32,
	                        .rows = k.rows,
	                        .d_model = d_model,
	                        .out = device_alloc(expert_bank_y_bytes(&k)),
	                        .out_dtype = UFM_BF16};
	OK(the.backend->gather(the.stream, &args));
	k.x_at = args.out;
	k.x_dtype = UFM_BF16;
	k.hidden_at = device_alloc(the.backend->hidden_bytes(k.desc, k.rows) / 2);
	expert_bank_run(&k, 0, 5, k.y_at);
	download(k.again, k.y_at, expert_bank_y_bytes(&k));
	assert_memory_equal(k.again, k.y, expert_bank_y_bytes(&k));
	expert_bank_close(&k);
}

static void expert_halves(void **state)
{
	(void)state;
	for (size_t v = 0; v < VARIANTS && the.info.math >> UFM_MATH_BF16 & 1u; v++) {
		check_halves(v, 136, 72);
		check_halves(v, 67, 131);
	}
}

static void expert_refuses_dtypes(void **state)
{
	(void)state;
	const uint32_t rows[1] = {4};
	bool has_bf16 = the.info.math >> UFM_MATH_BF16 & 1u;
	bank k;

	bank_open(&k, UFM_EXPERT_GATED, UFM_BF16, 16, 16, rows, 1);
	ufm_experts_args args = {.desc = k.desc,
	                         .entries = k.table,
	                         .entry_count = 1,
	                         .x = k.x_at,
	                         .hidden = k.hidden_at,
	                         .y = k.y_at,
	                         .x_dtype = UFM_BF16};
	FAILS(the.backend->experts(the.stream, &args), has_bf16 ? UFM_EINVAL : UFM_EUNSUPPORTED);
	args.x_dtype = UFM_F32;
	OK(the.backend->experts(the.stream, &args));
	expert_bank_close(&k);
}

static void expert_no_entries(void **state)
{
	(void)state;
	const uint32_t none[2] = {0, 0}, some[1] = {4};
	bank k;

	bank_open(&k, UFM_EXPERT_GATED, UFM_F32, 16, 16, none, 2);
	expert_bank_run(&k, 0, 2, k.y_at);
	expert_bank_run(&k, 0, 0, k.y_at);
	OK(the.backend->stream_sync(the.stream));
	assert_int_equal(the.backend->hidden_bytes(k.desc, 0), 0);
	expert_bank_close(&k);
	bank_open(&k, UFM_EXPERT_GATED, UFM_F32, 16, 16, some, 1);
	expert_bank_run(&k, 0, 0, k.y_at);
	download(k.y, k.y_at, expert_bank_y_bytes(&k));
	for (uint32_t i = 0; i < 4 * 16; i++)
		assert_true(isnan(k.y[i])); /* untouched */
	expert_bank_close(&k);
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
	expert_bank_run(&a, 0, 5, a.y_at);
	expert_bank_run(&c, 0, 5, c.y_at);
	download(a.y, a.y_at, expert_bank_y_bytes(&a));
	download(c.y, c.y_at, expert_bank_y_bytes(&c));
	ufm_experts_args args = {.desc = c.desc,
	                         .entries = c.table,
	                         .entry_count = 5,
	                         .x = c.x_at,
	                         .hidden = c.hidden_at,
	                         .y = c.y_at};
	for (uint32_t round = 0; round < 10; round++) {
		OK(the.backend->experts(other, &args));
		expert_bank_run(&a, 0, 5, a.y_at);
	}
	OK(the.backend->stream_sync(other));
	download(a.again, a.y_at, expert_bank_y_bytes(&a));
	download(c.again, c.y_at, expert_bank_y_bytes(&c));
	assert_memory_equal(a.again, a.y, expert_bank_y_bytes(&a));
	assert_memory_equal(c.again, c.y, expert_bank_y_bytes(&c));
	the.backend->stream_close(other);
	expert_bank_close(&a);
	expert_bank_close(&c);
}

static const struct CMUnitTest cases[] = {
	CASE(expert_against_float64),
	CASE(expert_larger_experts),
	CASE(expert_many_entries),
	CASE(expert_grouping),
	CASE(expert_order_and_host_output),
	CASE(expert_no_entries),
	CASE(expert_two_streams),
	CASE(expert_hundreds_of_entries),
	CASE(expert_device_entries),
	CASE(expert_many_rows),
	CASE(expert_pieces),
	CASE(expert_halves),
	CASE(expert_refuses_dtypes),
	CASE(expert_device_window),
};
const case_list expert_cases = CASE_LIST(cases);
