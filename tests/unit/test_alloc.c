/* SPDX-License-Identifier: MIT */
/* Host allocations: zeroed, aligned, refused on overflow and by the hook. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/status.h"

static void test_zeroed(void **state)
{
	(void)state;
	const size_t counts[] = {1, 3, 1000, 65537};
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		unsigned char *memory = alloc_zeroed(counts[i], 7);
		assert_non_null(memory);
		for (size_t b = 0; b < counts[i] * 7; b++)
			assert_int_equal(memory[b], 0);
		memset(memory, 0xa5, counts[i] * 7);
		alloc_free(memory);
	}
}

static void test_zero_elements_can_be_freed(void **state)
{
	(void)state;
	void *memory = alloc_zeroed(0, 16);
	assert_non_null(memory);
	alloc_free(memory);
	memory = alloc_zeroed(16, 0);
	assert_non_null(memory);
	alloc_free(memory);
	alloc_free(NULL);
}

static void test_overflow_is_refused(void **state)
{
	(void)state;
	status_fail(UFM_EINVAL, "before");
	assert_null(alloc_zeroed(SIZE_MAX / 2, 3));
	assert_non_null(strstr(ufm_last_error(), "host memory"));
	assert_non_null(strstr(ufm_last_error(), "3 bytes"));
	status_fail(UFM_EINVAL, "before");
	assert_null(alloc_pages(SIZE_MAX));
	assert_non_null(strstr(ufm_last_error(), "host memory"));
}

static void test_more_than_the_address_space_is_refused(void **state)
{
	(void)state;
	status_fail(UFM_EINVAL, "before");
	assert_null(alloc_pages((size_t)1 << 62));
	assert_non_null(strstr(ufm_last_error(), "4611686018427387904 bytes"));
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return false;
}

static void test_grow(void **state)
{
	(void)state;
	uint32_t room = 0, moves = 0;
	uint64_t *array = NULL;
	for (uint32_t count = 0; count < 1000; count++) {
		uint32_t before = room;
		uint64_t *grown = alloc_grow(array, count, &room, sizeof *array);
		assert_non_null(grown);
		assert_true(count < room);
		moves += room != before;
		array = grown;
		assert_true(room == before || array[count] == 0);
		array[count] = count * count;
	}
	assert_true(moves < 10);
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(array[i] == i * i);
	alloc_set_hook(refuse, NULL);
	uint32_t full = room;
	assert_null(alloc_grow(array, full, &room, sizeof *array));
	alloc_set_hook(NULL, NULL);
	/* still ours, as it was */
	assert_int_equal(room, full);
	assert_true(array[999] == 999 * 999);
	alloc_free(array);
}

static void test_string(void **state)
{
	(void)state;
	char *copy = alloc_string("expert");
	assert_string_equal(copy, "expert");
	alloc_free(copy);
	copy = alloc_string("");
	assert_string_equal(copy, "");
	alloc_free(copy);
}

static void test_pages(void **state)
{
	const size_t mib = (size_t)1 << 20;
	const size_t sizes[] = {0, 1, 4095, 4096, 4097, 2 * mib - 1, 2 * mib, 2 * mib + 1, 5 * mib};
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		unsigned char *memory = alloc_pages(sizes[i]);
		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % page_bytes, 0);
		if (sizes[i] >= 2 * mib)
			assert_int_equal((uintptr_t)memory % (2 * mib), 0);
		for (size_t b = 0; b < sizes[i]; b += 511)
			assert_int_equal(memory[b], 0);
		if (sizes[i])
			memory[0] = memory[sizes[i] - 1] = 1;
		alloc_pages_free(memory, sizes[i]);
	}
	alloc_pages_free(NULL, 4096);
}

typedef struct refusal {
	int asked, refused_at;
	size_t last_bytes;
} refusal;

static bool refuse_one(void *ctx, size_t size_bytes)
{
	refusal *r = ctx;

	r->last_bytes = size_bytes;
	return r->asked++ != r->refused_at;
}

static void test_hook_sees_and_fails_each_kind(void **state)
{
	(void)state;
	for (int refused = 0; refused < 3; refused++) {
		refusal r = {0, refused, 0};
		alloc_set_hook(refuse_one, &r);
		void *zeroed = alloc_zeroed(3, 5);
		assert_int_equal(r.last_bytes, 15);
		char *string = alloc_string("abc");
		assert_int_equal(r.last_bytes, 4);
		void *pages = alloc_pages(10000);
		assert_int_equal(r.last_bytes, 10000);
		alloc_set_hook(NULL, NULL);
		assert_int_equal(r.asked, 3);
		assert_int_equal(zeroed == NULL, refused == 0);
		assert_int_equal(string == NULL, refused == 1);
		assert_int_equal(pages == NULL, refused == 2);
		alloc_free(zeroed);
		alloc_free(string);
		alloc_pages_free(pages, 10000);
	}
}

static void test_failure_names_the_bytes(void **state)
{
	refusal r = {0, 0, 0};

	(void)state;
	alloc_set_hook(refuse_one, &r);
	assert_null(alloc_zeroed(100, 10));
	alloc_set_hook(NULL, NULL);
	assert_non_null(strstr(ufm_last_error(), "1000 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zeroed),
		cmocka_unit_test(test_zero_elements_can_be_freed),
		cmocka_unit_test(test_overflow_is_refused),
		cmocka_unit_test(test_more_than_the_address_space_is_refused),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_string),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_hook_sees_and_fails_each_kind),
		cmocka_unit_test(test_failure_names_the_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
