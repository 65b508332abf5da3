/* SPDX-License-Identifier: MIT */
/* The pool that computes experts beside a device, and what it learns of their cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "assist/assist.h"
#include "assist/cost.h"
#include "base/bf16.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "support/amx_emulated.h"

/* ------------------------------------------------------------------ the pool */

#define EXPERTS 9u

typedef struct bench {
	ufm_expert_desc desc;
	uint8_t *blocks; /* [EXPERTS, block_bytes] */
	float *x, *got, *want, *hidden;
	uint32_t rows[EXPERTS];
	uint64_t all_rows;
} bench;

static void fill_part(uint8_t *block, const ufm_part *part, uint64_t key)
{
	uint64_t count = (uint64_t)part->rows * part->cols;
	float *values = calloc(count, sizeof *values);
	assert_non_null(values);
	rng_fill_f32(values, count, key, 0, 0.5f);
	for (uint64_t i = 0; i < count; i++) {
		if (part->dtype == UFM_F32)
			((float *)(void *)(block + part->offset_bytes))[i] = values[i];
		else
			((uint16_t *)(void *)(block + part->offset_bytes))[i] = bf16_from_f32(values[i]);
	}
	free(values);
}

static void bench_open(bench *b, ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                       uint32_t d_hidden, const uint32_t *rows)
{
	UFM_STRUCT_INIT(&b->desc);
	assert_int_equal(ufm_expert_desc_init(&b->desc, kind, d_model, d_hidden, dtype), UFM_OK);
	memcpy(b->rows, rows, sizeof b->rows);
	b->all_rows = 0;
	uint64_t most = 1;
	for (uint32_t e = 0; e < EXPERTS; e++) {
		b->all_rows += rows[e];
		most = rows[e] > most ? rows[e] : most;
	}
	size_t elements = (b->all_rows + 1) * d_model;
	b->blocks = aligned_alloc(4096, EXPERTS * b->desc.block_bytes);
	b->x = calloc(elements, sizeof *b->x);
	b->got = calloc(elements, sizeof *b->got);
	b->want = calloc(elements, sizeof *b->want);
	b->hidden = calloc(most * d_hidden, sizeof *b->hidden);
	assert_true(b->blocks && b->x && b->got && b->want && b->hidden);
	memset(b->blocks, 0, EXPERTS * b->desc.block_bytes);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		for (uint32_t p = 0; p < b->desc.part_count; p++)
			fill_part(b->blocks + e * b->desc.block_bytes, &b->desc.parts[p], 100 * e + p);
	}
	rng_fill_f32(b->x, b->all_rows * d_model, 5, 0, 1);
}

static void bench_close(bench *b)
{
	free(b->blocks);
	free(b->x);
	free(b->got);
	free(b->want);
	free(b->hidden);
}

/* kernels NULL: the best for each. */
static void compute_reference(bench *b, const kernel_table *kernels)
{
	float *x = b->x, *y = b->want;
	for (uint32_t e = 0; e < EXPERTS; e++) {
		const void *block = b->blocks + e * b->desc.block_bytes;
		bool few = b->rows[e] <= KERNELS_FEW_TOKENS;
		const kernel_table *best = few ? kernels_best_few() : kernels_best();
		const kernel_table *k = kernels ? kernels : best;
		if (b->rows[e]) {
			k->hidden(&b->desc, block, x, b->rows[e], b->hidden, 0, b->desc.d_hidden);
			k->output(&b->desc, block, b->hidden, b->rows[e], y, 0, b->desc.d_model);
		}
		x += (size_t)b->rows[e] * b->desc.d_model;
		y += (size_t)b->rows[e] * b->desc.d_model;
	}
}

static void check_totals(const bench *b, assist *a, assist_totals totals)
{
	assert_int_equal(totals.experts, EXPERTS);
	assert_int_equal(totals.rows, b->all_rows);
	assert_int_equal(totals.weight_bytes, EXPERTS * b->desc.expert_bytes);
	assert_int_equal(totals.busy_ns > 0, b->all_rows > 0);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		assist_span span = assist_span_of(a, e);
		assert_int_equal(span.rows, b->rows[e]);
		assert_true(span.end_ns >= span.begin_ns);
		assert_int_equal(span.end_ns > 0, b->rows[e] > 0);
	}
}

static void run_job(bench *b, assist *a)
{
	float *x = b->x, *y = b->got;
	memset(b->got, 0xff, b->all_rows * b->desc.d_model * sizeof *b->got);
	assist_begin(a);
	for (uint32_t e = 0; e < EXPERTS; e++) {
		assist_add(a, b->blocks + e * b->desc.block_bytes, x, b->rows[e], y);
		x += (size_t)b->rows[e] * b->desc.d_model;
		y += (size_t)b->rows[e] * b->desc.d_model;
		assert_true(assist_done(a) <= assist_added(a));
	}
	check_totals(b, a, assist_end(a));
	assert_memory_equal(b->got, b->want, b->all_rows * b->desc.d_model * sizeof *b->got);
}

/* kernels NULL: the best, with several numbers of threads; else with one. */
static void check_kernels(const kernel_table *kernels, ufm_expert_kind kind, ufm_dtype dtype,
                          uint32_t d_model, uint32_t d_hidden, const uint32_t *rows)
{
	static const uint32_t threads[] = {1, 2, 3, 7};
	bench b;
	bench_open(&b, kind, dtype, d_model, d_hidden, rows);
	compute_reference(&b, kernels);
	for (uint32_t t = 0; t < (kernels ? 1 : 4); t++) {
		assist *a;
		assist_config config = {.desc = &b.desc,
		                        .kernels = kernels,
		                        .threads = threads[t],
		                        .experts_max = EXPERTS,
		                        .rows_max = b.all_rows};
		assert_int_equal(assist_open(&config, &a), UFM_OK);
		assert_int_equal(assist_threads(a), threads[t]);
		for (uint32_t i = 0; i < 3; i++)
			run_job(&b, a);
		assist_close(a);
	}
	bench_close(&b);
}

static void check_shape(ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model, uint32_t d_hidden,
                        const uint32_t *rows)
{
	check_kernels(NULL, kind, dtype, d_model, d_hidden, rows);
}

/* A table that prepares inputs once for all ranges of an expert. */
static void same_bits_with_prepared_inputs(void **state)
{
	(void)state;
	static const uint32_t rows[EXPERTS] = {1, 0, 3, 65, 7, 16, 0, 2, 33};
	const kernel_table *amx = amx_emulated();
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, 64, 96, UFM_BF16), UFM_OK);
	assert_true(amx->prepared_bytes(&desc, UFM_ROLE_UP, 64) > 0);
	check_kernels(amx, UFM_EXPERT_GATED, UFM_BF16, 64, 96, rows);
	check_kernels(amx, UFM_EXPERT_MLP_BIAS, UFM_BF16, 100, 33, rows);
	check_kernels(amx, UFM_EXPERT_MLP, UFM_F32, 40, 70, rows);
}

/* No rows, one, odd numbers, as many as a piece has, and one more. */
static void same_bits_as_one_thread(void **state)
{
	(void)state;
	static const uint32_t few[EXPERTS] = {1, 0, 3, 1, 7, 0, 0, 2, 5};
	static const uint32_t many[EXPERTS] = {63, 64, 65, 0, 1, 129, 16, 2, 4};
	static const uint32_t none[EXPERTS] = {0};
	check_shape(UFM_EXPERT_MLP_BIAS, UFM_F32, 24, 40, few);
	check_shape(UFM_EXPERT_GATED, UFM_BF16, 1, 1, few);
	check_shape(UFM_EXPERT_GATED, UFM_BF16, 37, 211, few);
	check_shape(UFM_EXPERT_MLP, UFM_F32, 513, 129, few);
	check_shape(UFM_EXPERT_GATED, UFM_F32, 96, 67, many);
	check_shape(UFM_EXPERT_MLP_BIAS, UFM_BF16, 130, 258, many);
	check_shape(UFM_EXPERT_MLP, UFM_F32, 24, 40, none);
}

static void jobs_without_work(void **state)
{
	(void)state;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	assist *a;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 8, 8, UFM_F32), UFM_OK);
	assist_config config = {.desc = &desc, .threads = 3, .experts_max = 1, .rows_max = 1};
	assert_int_equal(assist_open(&config, &a), UFM_OK);
	for (uint32_t i = 0; i < 100; i++) {
		assist_wake(a);
		assist_begin(a);
		assert_int_equal(assist_end(a).experts, 0);
	}
	assist_close(a);
	assist_close(NULL);
}

/* ------------------------------------------------------------------ caches */

static bool wait_forgotten(const assist *a, uint64_t number)
{
	for (uint32_t i = 0; i < 100000 && !assist_forgotten(a, number); i++)
		usleep(50);
	return assist_forgotten(a, number);
}

/* Blocks of several chunks, the last one short: dropped between jobs and under them, the bits stay. */
static void forgetting_changes_no_bit(void **state)
{
	(void)state;
	static const uint32_t rows[EXPERTS] = {1, 2, 1};
	bench b;
	assist *a;
	bench_open(&b, UFM_EXPERT_MLP, UFM_F32, 200, 301, rows);
	compute_reference(&b, NULL);
	assist_config config = {
		.desc = &b.desc, .threads = 3, .experts_max = EXPERTS, .rows_max = b.all_rows};
	assert_int_equal(assist_open(&config, &a), UFM_OK);
	assert_true(assist_forgotten(a, 0));
	for (uint32_t round = 0; round < 20; round++) {
		uint64_t number = 0;
		run_job(&b, a);
		for (uint32_t e = 0; e < EXPERTS; e++)
			number = assist_forget(a, b.blocks + e * b.desc.block_bytes);
		assert_int_equal(number, cpu_has_flush() ? (round + 1) * EXPERTS : 0);
		if (round % 2)
			assert_true(wait_forgotten(a, number));
		else
			run_job(&b, a);
		assert_true(wait_forgotten(a, number));
	}
	assist_close(a);
	bench_close(&b);
}

/* More than the threads can keep up with is not waited for. */
static void too_much_to_forget_is_refused(void **state)
{
	(void)state;
	static const uint32_t rows[EXPERTS] = {1};
	bench b;
	assist *a;
	uint64_t last = 0;
	bench_open(&b, UFM_EXPERT_MLP, UFM_F32, 8, 8, rows);
	assist_config config = {
		.desc = &b.desc, .threads = 1, .experts_max = EXPERTS, .rows_max = b.all_rows};
	assert_int_equal(assist_open(&config, &a), UFM_OK);
	for (uint32_t i = 0; i < 10000; i++) {
		uint64_t number = assist_forget(a, b.blocks);
		assert_true(number == 0 || number == last + 1);
		last = number ? number : last;
	}
	assert_true(wait_forgotten(a, last));
	assist_close(a);
	bench_close(&b);
}

/* ------------------------------------------------------------------ cost */

static void cost_is_learned(void **state)
{
	(void)state;
	assist_cost c = {0};
	assert_int_equal(cost_of(&c, 5), 1); /* nothing is known: try it */
	cost_learn(&c, 8, 800);
	assert_int_equal(cost_of(&c, 8), 800);
	assert_int_equal(cost_of(&c, 1), 800);   /* the nearest that was seen */
	assert_int_equal(cost_of(&c, 500), 800); /* and never dearer than that */
	cost_learn(&c, 1, 100);
	assert_int_equal(cost_of(&c, 4), 100);
	for (uint32_t i = 0; i < 100; i++)
		cost_learn(&c, 8, 400);
	assert_in_range(cost_of(&c, 9), 400, 401);
	for (uint32_t i = 0; i < 100; i++)
		cost_doubt(&c);
	assert_in_range(cost_of(&c, 8), 1, 100);
	cost_learn(&c, UINT32_MAX, 7);
	assert_int_equal(cost_of(&c, UINT32_MAX), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bits_as_one_thread),
		cmocka_unit_test(same_bits_with_prepared_inputs),
		cmocka_unit_test(jobs_without_work),
		cmocka_unit_test(forgetting_changes_no_bit),
		cmocka_unit_test(too_much_to_forget_is_refused),
		cmocka_unit_test(cost_is_learned),
	};
	return cmocka_run_group_tests_name("assist", tests, NULL, NULL);
}
