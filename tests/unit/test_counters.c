/* SPDX-License-Identifier: MIT */
/* Counters: the public table matches the definitions, and adding loses nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "telemetry/counters.h"

static void test_table_is_complete(void **state)
{
	(void)state;
	assert_int_equal(ufm_counter_count(), COUNTER_COUNT);
	for (uint32_t i = 0; i < ufm_counter_count(); i++) {
		const ufm_counter_desc *d = ufm_counter_describe(i);
		assert_non_null(d);
		assert_true(strlen(d->name) && strlen(d->unit) && strlen(d->help));
		assert_true(!strcmp(d->kind, "sum") || !strcmp(d->kind, "max") ||
		            !strcmp(d->kind, "gauge"));
		assert_int_equal(d->help[strlen(d->help) - 1], '.');
		assert_null(strpbrk(d->name, ", \"\n")); /* a CSV column */
		for (uint32_t j = 0; j < i; j++)
			assert_string_not_equal(d->name, ufm_counter_describe(j)->name);
	}
}

static void test_index_out_of_range(void **state)
{
	(void)state;
	assert_null(ufm_counter_describe(ufm_counter_count()));
	assert_null(ufm_counter_describe(UINT32_MAX));
}

static void test_enum_and_table_agree(void **state)
{
	(void)state;
	assert_string_equal(ufm_counter_describe(COUNTER_calls)->name, "calls");
	assert_string_equal(ufm_counter_describe(COUNTER_h2d_weight_bytes)->name, "h2d_weight_bytes");
	assert_string_equal(ufm_counter_describe(COUNTER_h2d_weight_bytes)->unit, "bytes");
	assert_string_equal(ufm_counter_describe(COUNTER_failed_uses)->name, "failed_uses");
}

static void test_arithmetic_has_a_counter(void **state)
{
	(void)state;
	assert_int_equal(counter_of_math((ufm_math)0), COUNTER_fp32_rows);
	assert_int_equal(counter_of_math(UFM_MATH_FP32), COUNTER_fp32_rows);
	assert_int_equal(counter_of_math(UFM_MATH_TF32), COUNTER_tf32_rows);
	assert_int_equal(counter_of_math(UFM_MATH_BF16), COUNTER_bf16_rows);
}

static void *add_many(void *arg)
{
	counters *c = arg;

	for (int i = 0; i < 10000; i++) {
		counter_add(c, COUNTER_uses, 1);
		counter_add(c, COUNTER_stall_ns, 3);
	}
	return NULL;
}

static void test_adding_from_threads(void **state)
{
	static counters c;
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, &c), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counter_get(&c, COUNTER_uses), 40000);
	assert_int_equal(counter_get(&c, COUNTER_stall_ns), 120000);
	assert_int_equal(counter_get(&c, COUNTER_calls), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_complete),
		cmocka_unit_test(test_index_out_of_range),
		cmocka_unit_test(test_enum_and_table_agree),
		cmocka_unit_test(test_arithmetic_has_a_counter),
		cmocka_unit_test(test_adding_from_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
