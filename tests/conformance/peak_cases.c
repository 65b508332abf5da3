/* SPDX-License-Identifier: MIT */
/* peak: a rate and where it is from, or a refusal; the device is as it was. */
#include "conformance.h"

#include <string.h>

#include "device/registry.h"

static bool has_math(ufm_math math)
{
	return (the.info.math & 1u << math) != 0;
}

/* UFM_EUNSUPPORTED changes nothing. */
static void check_peak(ufm_dtype dtype, ufm_math math)
{
	ufm_peak peak = {.gflops = -1, .source = "untouched"};
	ufm_device_memory before, after;

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
	print_message("dtype %d, math %d: %.0f gflops, %s %s\n", (int)dtype, (int)math, peak.gflops,
	              peak.source, peak.shape);
	assert_true(has_math(math));
	assert_true(peak.gflops > 0 && peak.gflops < 1e9);
	assert_true(peak.source[0] && !strchr(peak.source, '\n'));
}

static void peak_is_told_or_refused(void **state)
{
	(void)state;
	static const ufm_math maths[] = {UFM_MATH_FP32, UFM_MATH_TF32, UFM_MATH_BF16};

	/* What a driver keeps for itself when a library is loaded for the first time is not the backend's. */
	(void)registry_peak(the.backend, the.stream, UFM_F32, (ufm_math)0, &(ufm_peak){0});
	for (uint32_t m = 0; m < sizeof maths / sizeof maths[0]; m++) {
		check_peak(UFM_F32, maths[m]);
		check_peak(UFM_BF16, maths[m]);
	}
}

/* Work that was enqueued before is done, and work after it runs. */
static void peak_between_other_work(void **state)
{
	(void)state;
	uint8_t found[2] = {0};
	ufm_devptr data = device_alloc(2);

	OK(the.backend->fill(the.stream, data, 7, 1));
	check_peak(UFM_F32, UFM_MATH_FP32);
	OK(the.backend->fill(the.stream, data + 1, 9, 1));
	download(found, data, sizeof found);
	assert_int_equal(found[0], 7);
	assert_int_equal(found[1], 9);
}

static void peak_refusals(void **state)
{
	(void)state;
	ufm_peak peak = {.gflops = -1};

	if (registry_peak(the.backend, the.stream, UFM_F32, UFM_MATH_FP32, &(ufm_peak){0}) ==
	    UFM_EUNSUPPORTED)
		return; /* it has none at all */
	FAILS(the.backend->peak(the.stream, (ufm_dtype)99, UFM_MATH_FP32, &peak), UFM_EINVAL);
	assert_true(peak.gflops == -1);
}

static const struct CMUnitTest cases[] = {CASE(peak_is_told_or_refused),
                                          CASE(peak_between_other_work), CASE(peak_refusals)};
const case_list peak_cases = CASE_LIST(cases);
