/* SPDX-License-Identifier: MIT */
/* Bringing a matrix at two strides into rows, through buffers of any size: against a plain loop, and what
 * is asked of the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "store/strided_int.h"
#include "support/assert_error.h"
#include "support/memory_source.h"
#include "support/plain_strided.h"

#define GUARD 64
#define POISON 0xa5

static bank_extent extent_of(const plain_strided *m)
{
	return (bank_extent){.kind = EXTENT_STRIDED,
	                     .from = m->from,
	                     .to = m->to,
	                     .rows = (uint32_t)m->rows,
	                     .cols = (uint32_t)m->cols,
	                     .row_stride = m->row_stride,
	                     .col_stride = m->col_stride,
	                     .size_bytes = m->rows * m->cols * plain_strided_unit(m->to)};
}

static uint8_t *random_bytes(rng *r, uint64_t size_bytes)
{
	uint8_t *bytes = malloc(size_bytes);

	assert_non_null(bytes);
	for (uint64_t i = 0; i < size_bytes; i++)
		bytes[i] = (uint8_t)rng_u64(r);
	return bytes;
}

/* Memory of exactly the buffer's size, so that the address sanitizer sees a step beyond it. */
static void check(rng *r, const plain_strided *m, uint64_t buffer_bytes, memory_source *seen)
{
	bank_extent extent = extent_of(m);
	memory_source source = {.size_bytes = plain_strided_bytes(m)};
	uint8_t *bytes = random_bytes(r, source.size_bytes), *buffer = malloc(buffer_bytes);
	uint8_t *found = malloc(extent.size_bytes + GUARD), *expected = malloc(extent.size_bytes);

	assert_true(buffer && found && expected);
	assert_int_equal(strided_span_bytes(&extent), source.size_bytes);
	source.bytes = bytes;
	memset(found, POISON, extent.size_bytes + GUARD);
	plain_strided_read(m, bytes, expected);
	assert_int_equal(strided_read(&extent, read_memory, &source, buffer, buffer_bytes, found),
	                 UFM_OK);
	if (memcmp(found, expected, extent.size_bytes) != 0)
		fail_msg("[%llu, %llu] strides %llu, %llu from %d to %d, buffer %llu: other bytes",
		         (unsigned long long)m->rows, (unsigned long long)m->cols,
		         (unsigned long long)m->row_stride, (unsigned long long)m->col_stride, m->from,
		         m->to, (unsigned long long)buffer_bytes);
	for (int i = 0; i < GUARD; i++)
		assert_int_equal(found[extent.size_bytes + (uint64_t)i], POISON);
	*seen = source;
	free(bytes);
	free(buffer);
	free(found);
	free(expected);
}

/* Row pitch, every n-th row, transposed, every n-th column, both, and whatever else two strides can say. */
static void choose_strides(rng *r, plain_strided *m)
{
	uint64_t step = 1 + rng_below(r, 3), wide = rng_below(r, 50);

	switch (rng_below(r, 5)) {
	case 0:
		m->row_stride = step * (m->cols + wide);
		m->col_stride = 1;
		break;
	case 1:
		m->row_stride = step * m->cols;
		m->col_stride = step;
		break;
	case 2:
		m->row_stride = 1;
		m->col_stride = m->rows + wide;
		break;
	case 3:
		m->row_stride = step;
		m->col_stride = step * m->rows + wide;
		break;
	default:
		m->row_stride = 1 + rng_below(r, 3000);
		m->col_stride = 1 + rng_below(r, 100);
	}
	if (m->rows == 1)
		m->row_stride = 0;
	if (m->cols == 1)
		m->col_stride = 0;
}

static void test_any_strides_and_buffer(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);
	memory_source seen;
	rng r;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_seed(&r, seed);
	for (int i = 0; i < 3000; i++) {
		plain_strided m = {.from = (ufm_dtype)(1 + rng_below(&r, 3)),
		                   .to = (ufm_dtype)(1 + rng_below(&r, 2)),
		                   .rows = 1 + rng_below(&r, i % 10 ? 9 : 70),
		                   .cols = 1 + rng_below(&r, i % 10 ? 9 : 70)};

		if (rng_below(&r, 4) == 0)
			m.from = m.to = rng_below(&r, 2) ? UFM_F16 : (ufm_dtype)0;
		choose_strides(&r, &m);
		check(&r, &m, plain_strided_unit(m.from) + rng_below(&r, i % 3 ? 60 : 20000), &seen);
	}
}

static void test_what_is_asked_of_the_file(void **state)
{
	/* rows, cols, strides, buffer in elements; calls, elements read */
	static const struct {
		uint64_t rows, cols, row_stride, col_stride, buffer, calls, elements;
	} cases[] = {
		{10, 8, 16, 1, 1000, 1, 9 * 16 + 8},        /* half of what is read is wanted */
		{10, 8, 17, 1, 1000, 10, 80},               /* less than half */
		{10, 8, 16, 1, 40, 4, 3 * 40 + 8},          /* bands of 3 rows: 2 * 16 + 8 elements */
		{10, 8, 17, 1, 40, 10, 80},                 /* line by line in any buffer */
		{8, 10, 1, 16, 1000, 1, 9 * 16 + 8},        /* transposed: a line is a column */
		{8, 10, 2, 20, 1000, 1, 9 * 20 + 15},       /* every second of a column */
		{1, 10, 0, 3, 1000, 1, 28},                 /* one row is one line */
		{10, 1, 3, 0, 1000, 1, 28},                 /* one column */
		{10, 1, 3, 0, 7, 4, 3 * 7 + 1},             /* in pieces of 3 elements */
		{4, 3, 100000, 2000, 1000000, 12, 12},      /* elements a page apart */
		{4, 3, 100000, 1024, 1000000, 4, 4 * 2049}, /* a page at most */
	};
	memory_source seen;
	rng r;

	(void)state;
	rng_seed(&r, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		plain_strided m = {.from = UFM_F32,
		                   .to = UFM_F32,
		                   .rows = cases[i].rows,
		                   .cols = cases[i].cols,
		                   .row_stride = cases[i].row_stride,
		                   .col_stride = cases[i].col_stride};

		check(&r, &m, cases[i].buffer * 4, &seen);
		if (seen.calls != cases[i].calls || seen.read_bytes != cases[i].elements * 4)
			fail_msg("case %zu: %llu calls for %llu bytes", i, (unsigned long long)seen.calls,
			         (unsigned long long)seen.read_bytes);
	}
}

static void test_the_first_failure_ends_it(void **state)
{
	plain_strided m = {UFM_F32, UFM_BF16, 6, 4, 20, 1};
	bank_extent extent = extent_of(&m);
	memory_source source = {.size_bytes = plain_strided_bytes(&m), .fail_at = 3};
	uint8_t buffer[16], out[6 * 4 * 2];
	rng r;

	(void)state;
	rng_seed(&r, 1);
	uint8_t *bytes = random_bytes(&r, source.size_bytes);
	source.bytes = bytes;
	assert_error(strided_read(&extent, read_memory, &source, buffer, sizeof buffer, out),
	             UFM_EEXPERT_IO, "call 3");
	assert_int_equal(source.calls, 3);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_strides_and_buffer),
		cmocka_unit_test(test_what_is_asked_of_the_file),
		cmocka_unit_test(test_the_first_failure_ends_it),
	};

	return cmocka_run_group_tests_name("strided", tests, NULL, NULL);
}
