/* SPDX-License-Identifier: MIT */
/* Reads and writes sizes with binary suffixes, in integers throughout: no locale, no rounding. */
#include "base/size.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"

#define SIZE_LIMIT ((unsigned __int128)1 << 63)
#define FRACTION_DIGITS_MAX 18 /* 10^18 * 2^40 fits the 128 bits used below */

static const struct {
	const char *suffix;
	uint32_t shift;
} units[] = {{"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
#define UNIT_COUNT (sizeof units / sizeof units[0])

/* What a text says before it is turned into bytes: (whole + fraction / 10^digits) * 2^shift. */
typedef struct size_text {
	uint64_t whole, fraction, fraction_scale;
	uint32_t fraction_digits, shift;
} size_text;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static ufm_status fail_size(const char *text, const char *found)
{
	return status_fail(UFM_EINVAL,
	                   "size \"%.60s\": %s, expected bytes or a number with KiB, MiB, GiB "
	                   "or TiB, such as 17179869184 or 23.51GiB",
	                   text, found);
}

static ufm_status read_whole(const char *text, const char **at, uint64_t *whole)
{
	const char *c = text;
	uint64_t value = 0;

	if (!*c)
		return fail_size(text, "is empty");
	if (*c == '-' || *c == '+')
		return fail_size(text, "has a sign");
	if (!is_digit(*c))
		return fail_size(text, "does not begin with a digit");
	for (; is_digit(*c); c++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
			return fail_size(text, "is 2^63 or more");
	}
	*at = c;
	*whole = value;
	return UFM_OK;
}

static ufm_status read_fraction(const char *text, const char **at, size_text *out)
{
	const char *c = *at;

	out->fraction_scale = 1;
	if (*c != '.')
		return UFM_OK;
	for (c++; is_digit(*c); c++) {
		if (out->fraction_digits == FRACTION_DIGITS_MAX)
			return fail_size(text, "has more than 18 digits after the point");
		out->fraction = out->fraction * 10 + (uint64_t)(*c - '0');
		out->fraction_scale *= 10;
		out->fraction_digits++;
	}
	if (!out->fraction_digits)
		return fail_size(text, "has no digit after the point");
	*at = c;
	return UFM_OK;
}

static bool is_decimal_unit(const char *suffix)
{
	return strlen(suffix) == 2 && strchr("kKmMgGtT", suffix[0]) && strchr("bB", suffix[1]);
}

static ufm_status read_suffix(const char *text, const char *at, size_text *out)
{
	const char *suffix = at + strspn(at, " ");

	if (!*at && !out->fraction_digits)
		return UFM_OK;
	if (!*suffix)
		return fail_size(text, *at ? "ends in a space" : "is a fraction of a byte");
	for (size_t i = 0; i < UNIT_COUNT; i++) {
		if (strcasecmp(suffix, units[i].suffix) == 0) {
			out->shift = units[i].shift;
			return UFM_OK;
		}
	}
	if (is_decimal_unit(suffix))
		return fail_size(text, "has a decimal unit (kB, MB, GB and TB are not sizes here)");
	return fail_size(text, "has an unknown suffix");
}

ufm_status size_parse(const char *text, uint64_t *size_bytes)
{
	size_text parsed = {0};
	const char *at = text;

	assert(text && size_bytes);
	ufm_status status = read_whole(text, &at, &parsed.whole);
	if (status == UFM_OK)
		status = read_fraction(text, &at, &parsed);
	if (status == UFM_OK)
		status = read_suffix(text, at, &parsed);
	if (status != UFM_OK)
		return status;
	unsigned __int128 total =
		((unsigned __int128)parsed.whole << parsed.shift) +
		((unsigned __int128)parsed.fraction << parsed.shift) / parsed.fraction_scale;
	if (total >= SIZE_LIMIT)
		return fail_size(text, "is 2^63 or more");
	*size_bytes = (uint64_t)total;
	return UFM_OK;
}

/* Nearest hundredth of a unit. */
static uint64_t hundredths_of(uint64_t size_bytes, uint32_t shift)
{
	unsigned __int128 half = ((unsigned __int128)1 << shift) >> 1;

	return (uint64_t)(((unsigned __int128)size_bytes * 100 + half) >> shift);
}

char *size_format_in(uint64_t size_bytes, uint32_t shift, char *buffer, size_t buffer_size)
{
	size_t unit = 0;

	assert(buffer && buffer_size);
	/* 1023.999 MiB would print as 1024.00 MiB: the unit is chosen after rounding. */
	while (unit + 1 < UNIT_COUNT && units[unit + 1].shift <= shift &&
	       hundredths_of(size_bytes, units[unit].shift) >= 102400)
		unit++;
	uint64_t hundredths = hundredths_of(size_bytes, units[unit].shift);
	if (unit == 0)
		snprintf(buffer, buffer_size, "%llu B", (unsigned long long)size_bytes);
	else
		snprintf(buffer, buffer_size, "%llu.%02u %s", (unsigned long long)(hundredths / 100),
		         (unsigned)(hundredths % 100), units[unit].suffix);
	return buffer;
}

char *size_format(uint64_t size_bytes, char *buffer, size_t buffer_size)
{
	return size_format_in(size_bytes, units[UNIT_COUNT - 1].shift, buffer, buffer_size);
}

static bool look_alike(uint64_t a, uint64_t b, uint32_t shift)
{
	char one[32], other[32];
	return strcmp(size_format_in(a, shift, one, sizeof one),
	              size_format_in(b, shift, other, sizeof other)) == 0;
}

static bool any_alike(const uint64_t *sizes_bytes, uint32_t count, uint32_t shift)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (sizes_bytes[i] != sizes_bytes[j] &&
			    look_alike(sizes_bytes[i], sizes_bytes[j], shift))
				return true;
	return false;
}

uint32_t size_shift_apart(const uint64_t *sizes_bytes, uint32_t count)
{
	size_t unit = UNIT_COUNT - 1;
	while (unit > 0 && any_alike(sizes_bytes, count, units[unit].shift))
		unit--;
	return units[unit].shift;
}

void size_format_apart(uint64_t a_bytes, uint64_t b_bytes, char a[32], char b[32])
{
	uint32_t shift = size_shift_apart((const uint64_t[]){a_bytes, b_bytes}, 2);
	size_format_in(a_bytes, shift, a, 32);
	size_format_in(b_bytes, shift, b, 32);
}
