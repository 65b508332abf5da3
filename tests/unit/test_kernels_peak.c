/* SPDX-License-Identifier: MIT */
/* Loops of products in registers: every table that this CPU runs has one, and says what it stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

static void every_table_has_a_loop(void **state)
{
	(void)state;
	const char *name, *loop = NULL;
	static const ufm_dtype dtypes[] = {UFM_F32, UFM_BF16};

	for (uint32_t i = 0; (name = kernels_name(i)) != NULL; i++) {
		const kernel_table *table = kernels_find(name, NULL);
		for (uint32_t d = 0; table && d < 2; d++) {
			uint64_t once = kernels_peak(table, dtypes[d], 3, &loop);
			assert_true(once > 0);
			assert_non_null(loop);
			assert_true(kernels_peak(table, dtypes[d], 0, &loop) == 0);
			assert_true(kernels_peak(table, dtypes[d], 300, &loop) == 100 * once);
		}
	}
}

/* Tiles multiply bf16 alone. */
static void amx_has_vectors_for_f32(void **state)
{
	(void)state;
	const kernel_table *table = kernels_find("amx", NULL);
	const char *loop = NULL;

	if (!table) {
		print_message("this CPU has no AMX\n");
		return;
	}
	(void)kernels_peak(table, UFM_F32, 1, &loop);
	assert_string_equal(loop, "avx512");
	(void)kernels_peak(table, UFM_BF16, 1, &loop);
	assert_string_equal(loop, "amx");
}

static void unknown_tables_have_none(void **state)
{
	(void)state;
	const kernel_table other = {.isa = "other"};
	const char *loop = NULL;

	assert_true(kernels_peak(&other, UFM_F32, 100, &loop) == 0);
	assert_null(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_has_a_loop),
		cmocka_unit_test(amx_has_vectors_for_f32),
		cmocka_unit_test(unknown_tables_have_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
