/* SPDX-License-Identifier: MIT */
/* Devices by the names that their driver gives, and those that are not what they are called after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The plugin is not linked into tests; this file of it needs no CUDA. */
#include "device/cuda/published.c" /* NOLINT(bugprone-suspicious-include) */

static void is(const char *name, const char *part, double bf16)
{
	const published_peak *found = published_find(name);

	if (!found) {
		fail_msg("%s: not found, expected %s", name, part);
		return;
	}
	assert_string_equal(found->part, part);
	assert_true(found->tflops[PEAK_BF16] == bf16);
}

static void devices_by_name(void **state)
{
	(void)state;
	is("NVIDIA H200 (sm_90)", "H200", 989.5);
	is("NVIDIA H200 NVL (sm_90)", "H200 NVL", 835.5);
	is("NVIDIA H100 80GB HBM3 (sm_90)", "H100", 989.5);
	is("NVIDIA H100 PCIe (sm_90)", "H100 PCIe", 756);
	is("NVIDIA GH200 480GB (sm_90)", "GH200", 989.5);
	is("NVIDIA A100-SXM4-80GB (sm_80)", "A100", 312);
	is("NVIDIA A100 80GB PCIe (sm_80)", "A100", 312);
	is("NVIDIA L4 (sm_89)", "L4", 121);
	is("NVIDIA L40S (sm_89)", "L40S", 362);
	is("NVIDIA GeForce RTX 4090 (sm_89)", "RTX 4090", 165.2);
	is("NVIDIA GeForce RTX 5090 (sm_120)", "RTX 5090", 209.5);
	is("NVIDIA B200 (sm_100)", "B200", 2250);
}

static void others_are_not_taken_for_them(void **state)
{
	(void)state;
	static const char *const names[] = {"",
	                                    "NVIDIA A10G (sm_86)",
	                                    "NVIDIA GeForce RTX 4090 D (sm_89)",
	                                    "NVIDIA GeForce RTX 4090 Laptop GPU (sm_89)",
	                                    "NVIDIA GeForce RTX 3090 Ti (sm_86)",
	                                    "NVIDIA A100-SXM4-80GB MIG 1g.10gb (sm_80)",
	                                    "Tesla T4 (sm_75)"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_null(published_find(names[i]));
}

static void rates_are_ordered(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const double *t = table[i].tflops;
		assert_true(t[PEAK_FP32] > 0 && t[PEAK_FP32] <= t[PEAK_TF32]);
		assert_true(t[PEAK_TF32] < t[PEAK_BF16]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_by_name),
		cmocka_unit_test(others_are_not_taken_for_them),
		cmocka_unit_test(rates_are_ordered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
