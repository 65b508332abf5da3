/* SPDX-License-Identifier: MIT */
/* What every conformance case has: the backend under test, a device with one stream, and memory of
 * both sides. All data goes through copies, and host memory that a device sees is page-locked. */
#ifndef UFM_TESTS_CONFORMANCE_H
#define UFM_TESTS_CONFORMANCE_H

/* cmocka.h needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <ufm/backend.h>

typedef struct conformance {
	const ufm_backend *backend;
	bool is_cpu;
	uint64_t seed;
	/* of the running case */
	ufm_device *device;
	ufm_stream *stream;
	ufm_device_info info;
} conformance;

extern conformance the;

/* Fails the case with the library's last error. */
void must_be(ufm_status found, ufm_status expected, const char *call, const char *file, int line);
#define OK(call) must_be((call), UFM_OK, #call, __FILE__, __LINE__)
#define FAILS(call, expected) must_be((call), (expected), #call, __FILE__, __LINE__)

/* A device like the cases' own, with a limit (0: none) and a link. */
ufm_status open_device(uint64_t memory_limit_bytes, double link_gbps, ufm_device **out);

/* Memory of the running case, gone at its end: 256-byte aligned, full of 0xff bytes (NaN). */
ufm_devptr device_alloc(uint64_t size_bytes);
void *host_alloc(uint64_t size_bytes); /* page-locked */

/* Gives back what was taken since the mark; all work on it is done. */
typedef struct memory_mark {
	uint64_t device_used, host_used;
} memory_mark;
memory_mark memory_now(void);
void memory_back_to(memory_mark mark);

/* Through page-locked memory, in order on the case's stream; both return when done. */
ufm_devptr upload(const void *data, uint64_t size_bytes);
void download(void *data, ufm_devptr from, uint64_t size_bytes);

/* Uniform in ±scale; every call another stream of numbers. */
void random_f32(float *out, size_t count, float scale);
void random_bf16(uint16_t *out, size_t count, float scale);

/* max|y - ref| / max|ref|, NaN if y has one. */
double error_of(const float *y, const double *ref, size_t count);

/* Enough work on a stream that what follows is not done at once. */
void keep_busy(ufm_stream *stream);

int case_setup(void **state);
int case_teardown(void **state);
#define CASE(function) cmocka_unit_test_setup_teardown(function, case_setup, case_teardown)
/* Opens its own devices. */
#define BARE_CASE(function) cmocka_unit_test(function)

typedef struct case_list {
	const struct CMUnitTest *cases;
	size_t count;
} case_list;
#define CASE_LIST(array) \
	{ \
		array, sizeof array / sizeof array[0] \
	}
extern const case_list memory_cases, copy_cases, event_cases, gather_cases, router_cases,
	route_tokens_cases, expert_cases, arithmetic_cases, coded_cases, combine_cases, group_cases,
	adopt_cases, read_cases, peak_cases, refusal_cases, cpu_cases, cpu_short_cases, cuda_cases;

#endif
