/* SPDX-License-Identifier: MIT */
/* The line that shows how far a host tier is filled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/modes/filling.h"

#define GIB ((uint64_t)1 << 30)
#define S 1000000000ull

static void check(uint64_t spent_ns, uint64_t done_bytes, uint64_t total_bytes,
                  const char *expected)
{
	filling f = {.what = "fill", .begin_ns = 5 * S};
	char line[FILLING_LINE_BYTES];
	filling_line(&f, 5 * S + spent_ns, done_bytes, total_bytes, line);
	assert_string_equal(line, expected);
}

static void lines(void **state)
{
	(void)state;
	check(0, 0, 24 * GIB, "fill [--------------------] 0.0 of 24.0 GiB");
	check(S, 0, GIB, "fill [--------------------] 0.0 of 1.0 GiB");
	check(2 * S, 6 * GIB, 24 * GIB,
	      "fill [#####---------------] 6.0 of 24.0 GiB, 3.2 GB/s, 6 s left");
	check(S, GIB, GIB, "fill [####################] 1.0 of 1.0 GiB, 1.1 GB/s, 0 s left");
	check(S, 0, 0, "fill [####################] 0.0 of 0.0 GiB");
}

static void the_longest_name_fits(void **state)
{
	(void)state;
	filling f = {.begin_ns = 0};
	char line[FILLING_LINE_BYTES];
	memset(f.what, 'x', sizeof f.what - 1);
	filling_line(&f, 1, 1, UINT64_MAX, line);
	assert_true(strlen(line) < FILLING_LINE_BYTES);
	assert_non_null(strchr(line, '['));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(the_longest_name_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
