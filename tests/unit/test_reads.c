/* SPDX-License-Identifier: MIT */
/* A bank whose experts a backend does not read is refused before a byte of it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "device/reads.h"
#include "device/registry.h"
#include "format/format.h"
#include "support/assert_error.h"

static ufm_expert_desc desc_of(ufm_dtype dtype, ufm_format format)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_status status = format
	                        ? ufm_expert_desc_init_format(&desc, UFM_EXPERT_GATED, 256, 512, format)
	                        : ufm_expert_desc_init(&desc, UFM_EXPERT_GATED, 256, 512, dtype);

	assert_int_equal(status, UFM_OK);
	return desc;
}

static void the_cpu_reads_all_that_there_are(void **state)
{
	(void)state;
	for (uint32_t i = 0; format_at(i); i++) {
		if (!(format_at(i)->uses & (FORMAT_WEIGHTS | FORMAT_SCALED_WEIGHTS)))
			continue;
		ufm_expert_desc desc = desc_of(0, format_at(i)->format);
		assert_int_equal(device_reads(&cpu_backend, &desc), UFM_OK);
	}
	for (ufm_dtype dtype = UFM_F32; dtype <= UFM_F16; dtype++) {
		ufm_expert_desc desc = desc_of(dtype, 0);
		assert_int_equal(device_reads(&cpu_backend, &desc), UFM_OK);
	}
}

static void another_is_told_what_it_does(void **state)
{
	ufm_backend b = cpu_backend;
	ufm_expert_desc halves = desc_of(UFM_F16, 0), q4 = desc_of(0, UFM_FORMAT_Q4_K),
					q8 = desc_of(0, UFM_FORMAT_Q8_0);

	(void)state;
	b.name = "other";
	b.dtypes = 1u << UFM_F32 | 1u << UFM_BF16;
	b.formats = 1u << UFM_FORMAT_PLAIN | 1u << UFM_FORMAT_Q8_0;
	assert_int_equal(device_reads(&b, &q8), UFM_OK);
	assert_error(device_reads(&b, &q4), UFM_EUNSUPPORTED,
	             "experts in Q4_K: the other backend reads F32, BF16, Q8_0");
	assert_error(device_reads(&b, &halves), UFM_EUNSUPPORTED,
	             "experts in F16: the other backend reads F32, BF16, Q8_0");
	b.formats = 1u << UFM_FORMAT_Q8_0;
	halves = desc_of(UFM_F32, 0);
	assert_error(device_reads(&b, &halves), UFM_EUNSUPPORTED, "experts in F32: ");
}

/* One matrix that is not read is enough. */
static void every_matrix_counts(void **state)
{
	ufm_backend b = cpu_backend;
	ufm_expert_desc desc = desc_of(UFM_BF16, 0);

	(void)state;
	b.formats = 1u << UFM_FORMAT_PLAIN;
	assert_int_equal(device_reads(&b, &desc), UFM_OK);
	desc.parts[desc.part_count - 1].format = UFM_FORMAT_Q6_K;
	assert_error(device_reads(&b, &desc), UFM_EUNSUPPORTED, "experts in Q6_K");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cpu_reads_all_that_there_are),
		cmocka_unit_test(another_is_told_what_it_does),
		cmocka_unit_test(every_matrix_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
