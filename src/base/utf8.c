/* SPDX-License-Identifier: MIT */
/* The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF. */
#include "base/utf8.h"

static size_t length_by_lead(unsigned lead)
{
	if (lead < 0x80)
		return 1;
	return lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
}

static bool is_second(unsigned lead, unsigned byte)
{
	unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	return byte >= low && byte <= high;
}

size_t utf8_sequence(const unsigned char *at, size_t left)
{
	size_t n = left ? length_by_lead(at[0]) : 0;

	if (n == 0 || n > left || (n > 1 && !is_second(at[0], at[1])))
		return 0;
	for (size_t i = 2; i < n; i++) {
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	}
	return n;
}

bool utf8_is_valid(const unsigned char *text, size_t size)
{
	size_t n;

	for (size_t at = 0; at < size; at += n) {
		n = utf8_sequence(text + at, size - at);
		if (n == 0)
			return false;
	}
	return true;
}
