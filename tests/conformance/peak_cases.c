/* SPDX-License-Identifier: MIT */
/* peak: a rate and where it is from, or a refusal; the device is as it was. */
#include "conformance.h"

#include <string.h>

#include "device/registry.h"

static bool has_math(ufm_math math)
{
	return math == 0 || (the.info.math & 1u << math) != 0;
}

static void check_peak(ufm_dtype dtype, ufm_math math, double *gflops)
{
	ufm_peak peak = {.gflops = -1, .source = "untouched"};
	ufm_device_memory before, after;

	/* What a driver keeps for itself when a library is loaded for the first time is not the backend's. */
	(void)registry_peak(the.backend, the.stream, dtype, math, &(ufm_peak){0});
	the.backend->device_get_memory(the.device, &before);
	ufm_status status = registry_peak(the.backend, the.stream, dtype, math, &peak);
	the.backend->device_get_memory(the.device, &after);
	assert_true(before.free_bytes == after.free_bytes);
	if (status != UFM_OK) {
		must_be(status, UFM_EUNSUPPORTED, "peak", __FILE__, __LINE__);
		assert_true(peak.gflops == -1);
		assert_string_equal(peak.source, "untouched");
		return;
	}
	assert_true(has_math(math));
	assert_true(peak.gflops > 0 && peak.gflops < 1e9);
	assert_true(peak.source[0] && !strchr(peak.source, '\n'));
	*gflops = peak.gflops;
}

static void peak_is_told_or_refused(void **state)
{
	(void)state;
	static const ufm_dtype dtypes[] = {UFM_F32, UFM_BF16};
	static const ufm_math maths[] = {(ufm_math)0, UFM_MATH_FP32, UFM_MATH_TF32, UFM_MATH_BF16};

	for (uint32_t d = 0; d < 2; d++) {
		for (uint32_t m = 0; m < 4; m++) {
			double gflops = 0;
			check_peak(dtypes[d], maths[m], &gflops);
			print_message("dtype %d, math %d: %.0f gflops\n", (int)dtypes[d], (int)maths[m],
			              gflops);
		}
	}
}

/* Work that was enqueued before is done, and work after it runs. */
static void peak_between_other_work(void **state)
{
	(void)state;
	uint8_t found[2] = {0};
	ufm_devptr data = device_alloc(2);
	double gflops;

	OK(the.backend->fill(the.stream, data, 7, 1));
	check_peak(UFM_F32, UFM_MATH_FP32, &gflops);
	OK(the.backend->fill(the.stream, data + 1, 9, 1));
	download(found, data, sizeof found);
	assert_int_equal(found[0], 7);
	assert_int_equal(found[1], 9);
}

static const struct CMUnitTest cases[] = {CASE(peak_is_told_or_refused),
                                          CASE(peak_between_other_work)};
const case_list peak_cases = CASE_LIST(cases);
