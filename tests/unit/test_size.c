/* SPDX-License-Identifier: MIT */
/* Sizes: what is read, what is refused and how, and what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "base/size.h"

#define SEED 20240611u

static void test_accepted(void **state)
{
	static const struct {
		const char *text;
		uint64_t size_bytes;
	} cases[] = {
		{"0", 0},
		{"1", 1},
		{"17179869184", 17179869184u},
		{"100B", 100},
		{"64KiB", 65536},
		{"512 MiB", 536870912u},
		{"512  mib", 536870912u},
		{"16GiB", 17179869184u},
		{"16gIb", 17179869184u},
		{"2TiB", 2199023255552u},
		{"23.51GiB", 25243670282u}, /* 23.51 * 2^30 = 25243670282.24 */
		{"0.5KiB", 512},
		{"1.5B", 1},
		{"0.1KiB", 102},
		{"0.999999999999999999TiB", 1099511627775u},
		{"1.000000000000000000GiB", 1073741824u},
		{"007", 7},
		{"9223372036854775807", 9223372036854775807u},
		{"8388607.999999TiB", 9223372036853676296u},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t found = UINT64_MAX;
		ufm_status status = size_parse(cases[i].text, &found);
		if (status != UFM_OK || found != cases[i].size_bytes)
			fail_msg("%s: status %d, found %" PRIu64 ", expected %" PRIu64, cases[i].text, status,
			         found, cases[i].size_bytes);
	}
}

static void test_refused_by_name(void **state)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{"", "is empty"},
		{"-1", "sign"},
		{"+1", "sign"},
		{"x", "digit"},
		{" 1", "digit"},
		{".5GiB", "digit"},
		{"GiB", "digit"},
		{"1 ", "space"},
		{"1.5", "fraction of a byte"},
		{"1.GiB", "no digit after the point"},
		{"1.", "no digit after the point"},
		{"1.5.5GiB", "unknown suffix"},
		{"16GB", "decimal unit"},
		{"16 kb", "decimal unit"},
		{"1TB", "decimal unit"},
		{"16G", "unknown suffix"},
		{"16GiBs", "unknown suffix"},
		{"16 GiB ", "unknown suffix"},
		{"1PiB", "unknown suffix"},
		{"0x10", "unknown suffix"},
		{"1e9", "unknown suffix"},
		{"1,5GiB", "unknown suffix"},
		{"9223372036854775808", "2^63"},
		{"18446744073709551616", "2^63"},
		{"99999999999999999999999999", "2^63"},
		{"8388608TiB", "2^63"},
		{"18446744073709551615TiB", "2^63"},
		{"0.1234567890123456789GiB", "18 digits"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t found = 42;
		ufm_status status = size_parse(cases[i].text, &found);
		if (status != UFM_EINVAL || found != 42 || !strstr(ufm_last_error(), cases[i].reason))
			fail_msg("\"%s\": status %d, value %" PRIu64 ", error \"%s\" (expected \"%s\")",
			         cases[i].text, status, found, ufm_last_error(), cases[i].reason);
		assert_non_null(strstr(ufm_last_error(), "expected bytes or a number with KiB"));
		assert_non_null(strstr(ufm_last_error(), cases[i].text));
	}
}

static void test_long_text_is_quoted_short(void **state)
{
	char text[4096];
	uint64_t found;

	(void)state;
	memset(text, 'q', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(size_parse(text, &found), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "expected bytes"));
}

static void test_format(void **state)
{
	static const struct {
		uint64_t size_bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1, "1 B"},
		{512, "512 B"},
		{1023, "1023 B"},
		{1024, "1.00 KiB"},
		{1536, "1.50 KiB"},
		{8388608, "8.00 MiB"},
		{1073741823, "1.00 GiB"}, /* not 1024.00 MiB */
		{17179869184u, "16.00 GiB"},
		{25243670282u, "23.51 GiB"},
		{2199023255552u, "2.00 TiB"},
		{UINT64_MAX, "16777216.00 TiB"},
	};
	char buffer[32];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_ptr_equal(size_format(cases[i].size_bytes, buffer, sizeof buffer), buffer);
		assert_string_equal(buffer, cases[i].text);
	}
}

static void test_format_in_no_larger_a_unit(void **state)
{
	static const struct {
		uint64_t size_bytes;
		uint32_t shift;
		const char *text;
	} cases[] = {
		{17179869184u, 40, "16.00 GiB"},
		{17179869184u, 30, "16.00 GiB"},
		{17179869184u, 29, "16384.00 MiB"},
		{17179869184u, 20, "16384.00 MiB"},
		{17179869184u, 10, "16777216.00 KiB"},
		{17179869184u, 0, "17179869184 B"},
		{1536, 20, "1.50 KiB"},
		{1073741823, 20, "1024.00 MiB"},
		{0, 0, "0 B"},
	};
	char buffer[32];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(
			size_format_in(cases[i].size_bytes, cases[i].shift, buffer, sizeof buffer),
			cases[i].text);
}

static void test_sizes_apart(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30;
	const uint64_t far[] = {8 * gib, 24 * gib, gib / 2, 8 * gib},
				   mib[] = {gib, 24 * gib, gib + (1 << 16)}, kib[] = {gib + 1024, gib, gib},
				   bytes[] = {gib, gib + 1};
	char a[32], b[32];
	(void)state;
	assert_int_equal(size_shift_apart(far, 4), 40);
	assert_int_equal(size_shift_apart(mib, 3), 20);
	assert_int_equal(size_shift_apart(kib, 3), 10);
	assert_int_equal(size_shift_apart(bytes, 2), 0);
	assert_int_equal(size_shift_apart(bytes, 1), 40);
	assert_int_equal(size_shift_apart(NULL, 0), 40);
	size_format_apart(gib, gib + (1 << 20), a, b);
	assert_string_equal(a, "1024.00 MiB");
	assert_string_equal(b, "1025.00 MiB");
	size_format_apart(gib, gib, a, b);
	assert_string_equal(a, "1.00 GiB");
	assert_string_equal(b, "1.00 GiB");
}

static void test_format_terminates_short_buffers(void **state)
{
	char buffer[8];

	(void)state;
	for (size_t size = 1; size <= sizeof buffer; size++) {
		memset(buffer, 'x', sizeof buffer);
		size_format(1536, buffer, size);
		assert_true(strlen(buffer) < size);
		assert_memory_equal(buffer, "1.50 KiB", strlen(buffer));
	}
}

static void check_exact(uint64_t size_bytes)
{
	char text[32];
	uint64_t found = 0;

	snprintf(text, sizeof text, "%" PRIu64, size_bytes);
	if (size_parse(text, &found) != UFM_OK || found != size_bytes)
		fail_msg("seed %u: %s read as %" PRIu64, SEED, text, found);
}

/* What was printed is within half a hundredth of its unit. */
static void check_formatted(uint64_t size_bytes)
{
	char text[32];
	uint64_t found = 0, unit_bytes = 1;

	while (unit_bytes < (uint64_t)1 << 40 && size_bytes / unit_bytes >= 1023)
		unit_bytes *= 1024;
	size_format(size_bytes, text, sizeof text);
	if (size_parse(text, &found) != UFM_OK)
		fail_msg("seed %u: %s refused: %s", SEED, text, ufm_last_error());
	uint64_t off_bytes = found > size_bytes ? found - size_bytes : size_bytes - found;
	if (off_bytes > unit_bytes / 200 + 1)
		fail_msg("seed %u: %" PRIu64 " printed as %s", SEED, size_bytes, text);
}

static void test_round_trips(void **state)
{
	rng r;

	(void)state;
	rng_seed(&r, SEED);
	for (int i = 0; i < 20000; i++) {
		/* Below 2^62, because the largest sizes are printed as 2^63, which is refused. */
		uint64_t size_bytes = (rng_u64(&r) >> 2) >> rng_below(&r, 62);
		check_exact(size_bytes);
		check_formatted(size_bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused_by_name),
		cmocka_unit_test(test_long_text_is_quoted_short),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_in_no_larger_a_unit),
		cmocka_unit_test(test_sizes_apart),
		cmocka_unit_test(test_format_terminates_short_buffers),
		cmocka_unit_test(test_round_trips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
