/* SPDX-License-Identifier: MIT */
/* Token-expert pairs by the arithmetic that computed them: exact on every path, all under one name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/fixture.h"

/* The fixture's backend, as if it had every arithmetic: what is asked for is noted, and computed in fp32 where it is lacking. */
static struct {
	_Atomic uint64_t launched[UFM_MATH_BF16 + 1]; /* rows of entries that the host listed */
	_Atomic uint32_t calls[UFM_MATH_BF16 + 1];
	_Atomic uint32_t fail_in; /* the experts call that fails; 0: none */
	ufm_devptr ids;           /* what group reads in place of the router's; 0: those */
} seen;
static const ufm_backend *real;

/* Rows that it would have in bf16 are f32 then, and lie where twice as many fit. */
#define ROWS_MAX 16384u
static float wide_x[ROWS_MAX][24], wide_hidden[ROWS_MAX][40];

static bool has_bf16; /* the real one has */

static void versatile_info(ufm_device *device, ufm_device_info *info)
{
	real->device_get_info(device, info);
	has_bf16 = info->math >> UFM_MATH_BF16 & 1u;
	info->math = 1u << UFM_MATH_FP32 | 1u << UFM_MATH_TF32 | 1u << UFM_MATH_BF16;
}

static ufm_status noted_experts(ufm_stream *s, const ufm_experts_args *given)
{
	ufm_experts_args a = *given;
	uint32_t left = atomic_load(&seen.fail_in);
	if (left)
		atomic_store(&seen.fail_in, left - 1);
	if (left == 1)
		return UFM_EDEVMEM;
	atomic_fetch_add(&seen.calls[a.math], 1);
	for (uint32_t i = 0; i < a.entry_count && !a.device_entries; i++)
		atomic_fetch_add(&seen.launched[a.math], a.entries[i].rows);
	if (has_bf16)
		return real->experts(s, &a);
	a.math = UFM_MATH_FP32;
	if (a.x_dtype == UFM_BF16) {
		a.x = (ufm_devptr)(uintptr_t)wide_x;
		a.hidden = (ufm_devptr)(uintptr_t)wide_hidden;
	}
	a.x_dtype = UFM_F32;
	return real->experts(s, &a);
}

static ufm_status wide_gather(ufm_stream *s, const ufm_gather_args *given)
{
	ufm_gather_args a = *given;
	if (has_bf16)
		return real->gather(s, &a);
	if (a.out_dtype == UFM_BF16)
		a.out = (ufm_devptr)(uintptr_t)wide_x;
	a.out_dtype = UFM_F32;
	return real->gather(s, &a);
}

static ufm_status replaced_group(ufm_stream *s, const ufm_group_args *given)
{
	ufm_group_args a = *given;
	a.ids = seen.ids ? seen.ids : a.ids;
	return real->group(s, &a);
}

static ufm_backend versatile_backend(void)
{
	ufm_backend b = *fixture_backend();
	real = fixture_backend();
	memset(&seen, 0, sizeof seen);
	b.device_get_info = versatile_info;
	b.experts = noted_experts;
	b.gather = wide_gather;
	b.group = replaced_group;
	b.route_tokens = NULL; /* it would do without those two */
	return b;
}

static void must_open(fixture *f, const fixture_config *c)
{
	if (fixture_open(f, c) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
}

/* `pairs`: of the calls so far, without skipped ids. The device has computed those that the CPU has not. */
static void check_rows(fixture *f, ufm_math math, uint64_t pairs)
{
	static const char *const names[] = {"", "fp32_rows", "tf32_rows", "bf16_rows"};
	uint64_t device = pairs - fixture_counter(f, "cpu_rows");
	for (ufm_math m = UFM_MATH_FP32; m <= UFM_MATH_BF16; m++)
		assert_int_equal(fixture_counter(f, names[m]), m == math ? device : 0);
}

static void run_everywhere(fixture_config c, bool resident)
{
	for (ufm_math math = UFM_MATH_FP32; math <= UFM_MATH_BF16; math++) {
		ufm_backend b = versatile_backend();
		fixture f;
		c.backend = &b;
		c.math = math;
		must_open(&f, &c);
		if (resident)
			assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
		for (uint64_t step = 0; step < 3; step++) {
			assert_int_equal(fixture_run(&f, step), UFM_OK);
			check_rows(&f, math, (step + 1) * f.c.layers * f.c.tokens * f.c.top_k);
		}
		for (ufm_math m = 0; m <= UFM_MATH_BF16; m++)
			assert_int_equal(seen.calls[m] > 0, m == math);
		if (resident)
			assert_int_equal(fixture_counter(&f, "resident_calls"), 3 * f.c.layers);
		else
			check_rows(&f, math, seen.launched[math] + fixture_counter(&f, "cpu_rows"));
		assert_int_equal(fixture_counter(&f, "cpu_rows") > 0, c.cpu_assist == UFM_CPU_ON);
		fixture_close(&f);
	}
}

static void every_path_counts_exactly(void **state)
{
	(void)state;
	run_everywhere((fixture_config){.slots_max = 3, .layers = 2}, false);
	run_everywhere((fixture_config){.slots_max = 3, .tokens = 1}, false);
	run_everywhere((fixture_config){.resident_all = 1, .layers = 2}, true);
	run_everywhere((fixture_config){.resident_all = 1, .tokens = 1, .experts = 40}, true);
	run_everywhere(
		(fixture_config){
			.slots_max = 4, .cpu_assist = UFM_CPU_ON, .cpu_threads = 2, .cpu_share_percent = 50},
		false);
}

static void long_calls_count_exactly(void **state)
{
	(void)state;
	fixture_config c = {.slots_max = 3, .tokens = 61, .max_tokens = 7, .top_k = 3};
	run_everywhere(c, false);
	c.cpu_assist = UFM_CPU_ON;
	c.cpu_share_percent = 30;
	run_everywhere(c, false);
	run_everywhere((fixture_config){.resident_all = 1, .tokens = 21, .max_tokens = 4}, true);
	/* more rows than x and hidden hold at once */
	run_everywhere((fixture_config){.slots_max = 3, .experts = 5, .tokens = 2750, .top_k = 3},
	               false);
}

static ufm_moe_call call_of(fixture *f)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = f->c.tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	return call;
}

static ufm_status run_call(fixture *f, const ufm_moe_call *call)
{
	ufm_ticket ticket = {0};
	ufm_status status = ufm_moe_forward(f->layers[0], call, &ticket);
	ufm_status waited = ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER);
	return status == UFM_OK ? waited : status;
}

/* Of 8 experts: an id that names none is no pair, one that is repeated is one each time. */
static const int32_t some_ids[12] = {3, 8, -1, 3, 3, 3, INT32_MAX, 7, 0, INT32_MIN, 5, 100};
#define SOME_PAIRS 7
#define DISTINCT_PAIRS \
	6 /* an id that a token names again has no row of its own where a caller brings it */

static void skipped_ids_are_no_rows(void **state)
{
	(void)state;
	ufm_backend b = versatile_backend();
	fixture_config c = {.tokens = 6, .slots_max = 3, .backend = &b, .math = UFM_MATH_TF32};
	int32_t none[12];
	float gates[12] = {0};
	fixture f;
	must_open(&f, &c);
	fixture_fill_x(&f, 1);
	ufm_moe_call call = call_of(&f);
	call.ids = some_ids;
	call.gates = gates;
	for (uint64_t i = 1; i <= 4; i++) {
		assert_int_equal(run_call(&f, &call), UFM_OK);
		check_rows(&f, UFM_MATH_TF32, i * DISTINCT_PAIRS);
	}
	memset(none, -1, sizeof none);
	call.ids = none;
	assert_int_equal(run_call(&f, &call), UFM_OK);
	check_rows(&f, UFM_MATH_TF32, 4 * DISTINCT_PAIRS);
	fixture_close(&f);
}

/* A resident layer's ids are counted as the device gives them. */
static void skipped_ids_of_a_resident_layer(void **state)
{
	(void)state;
	ufm_backend b = versatile_backend();
	fixture_config c = {.tokens = 6, .resident_all = 1, .backend = &b, .math = UFM_MATH_BF16};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 1);
	ufm_devptr ids;
	assert_int_equal(ufm_engine_alloc(f.engine, sizeof some_ids, &ids), UFM_OK);
	assert_int_equal(ufm_copy_to_device(f.engine, NULL, ids, some_ids, sizeof some_ids), UFM_OK);
	seen.ids = ids;
	ufm_moe_call call = call_of(&f);
	for (uint64_t i = 1; i <= 4; i++) {
		assert_int_equal(run_call(&f, &call), UFM_OK);
		check_rows(&f, UFM_MATH_BF16, i * SOME_PAIRS);
	}
	assert_int_equal(fixture_counter(&f, "resident_calls"), 4);
	fixture_close(&f);
}

/* What was enqueued before the failure counts; the next calls are exact again. */
static void a_failed_launch_counts_nothing(void **state)
{
	(void)state;
	for (uint32_t at = 1; at <= 4; at++) {
		ufm_backend b = versatile_backend();
		fixture_config c = {.slots_max = 3, .max_tokens = 2, .backend = &b};
		fixture f;
		must_open(&f, &c);
		seen.fail_in = at;
		assert_int_equal(fixture_run(&f, 0), UFM_EDEVMEM);
		assert_int_equal(seen.calls[UFM_MATH_FP32], at - 1);
		check_rows(&f, UFM_MATH_FP32, seen.launched[UFM_MATH_FP32]);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		check_rows(&f, UFM_MATH_FP32, seen.launched[UFM_MATH_FP32]);
		fixture_close(&f);
	}
}

static void a_failed_resident_call_counts_nothing(void **state)
{
	(void)state;
	ufm_backend b = versatile_backend();
	fixture_config c = {.resident_all = 1, .backend = &b, .math = UFM_MATH_TF32};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	seen.fail_in = 1;
	assert_int_equal(fixture_run(&f, 0), UFM_EDEVMEM);
	check_rows(&f, UFM_MATH_TF32, 0);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	check_rows(&f, UFM_MATH_TF32, (uint64_t)f.c.tokens * f.c.top_k);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_path_counts_exactly),
		cmocka_unit_test(long_calls_count_exactly),
		cmocka_unit_test(skipped_ids_are_no_rows),
		cmocka_unit_test(skipped_ids_of_a_resident_layer),
		cmocka_unit_test(a_failed_launch_counts_nothing),
		cmocka_unit_test(a_failed_resident_call_counts_nothing),
	};
	return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
