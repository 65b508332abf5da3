/* SPDX-License-Identifier: MIT */
/* JSON strings: decoded in place, with escapes and UTF-8 checked. What is decoded is never longer than
 * how it was written. */
#include <string.h>

#include "base/json_pull_int.h"
#include "base/utf8.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four hex digits; -1 when they are not there. */
static long take_hex(json_pull *r)
{
	long value = 0;

	if (r->size - r->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(r->text[r->at + (size_t)i]);

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	r->at += 4;
	return value;
}

/* The bytes of a code point in UTF-8; returns how many. */
static size_t encode(long code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* What follows \u: a code point, or a pair of surrogates. NUL would end the string early. */
static bool take_unicode(json_pull *r, char *text, size_t *used)
{
	long code = take_hex(r), low;
	char bytes[4];
	size_t n;

	if (code >= 0xd800 && code < 0xdc00) {
		if (r->size - r->at < 2 || r->text[r->at] != '\\' || r->text[r->at + 1] != 'u')
			return json_pull_unexpected(r, "the second half of a surrogate pair");
		r->at += 2;
		low = take_hex(r);
		if (low < 0xdc00 || low > 0xdfff)
			return json_pull_unexpected(r, "the second half of a surrogate pair");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff))
		return json_pull_unexpected(r, "four hex digits of a character other than NUL");
	n = encode(code, bytes);
	memcpy(text + *used, bytes, n);
	*used += n;
	return true;
}

static bool take_escape(json_pull *r, char *text, size_t *used)
{
	static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *found;
	char c;

	r->at++;
	c = r->at < r->size ? r->text[r->at] : '\0';
	if (c == 'u') {
		r->at++;
		return take_unicode(r, text, used);
	}
	found = c ? strchr(letters, c) : NULL;
	if (!found)
		return json_pull_unexpected(r, "an escape that JSON knows");
	text[(*used)++] = values[found - letters];
	r->at++;
	return true;
}

static bool take_character(json_pull *r, char *text, size_t *used)
{
	unsigned char c = (unsigned char)r->text[r->at];
	size_t n = 1;

	if (c == '\\')
		return take_escape(r, text, used);
	if (c < 0x20)
		return json_pull_unexpected(r, "no control character in a string");
	if (c >= 0x80)
		n = utf8_sequence((const unsigned char *)r->text + r->at, r->size - r->at);
	if (n == 0)
		return json_pull_unexpected(r, "UTF-8");
	memmove(text + *used, r->text + r->at, n);
	*used += n;
	r->at += n;
	return true;
}

bool json_pull_string(json_pull *r, const char **out)
{
	char *text;
	size_t used = 0;

	if (json_pull_peek(r) != JSON_PULL_STRING)
		return !r->status && json_pull_unexpected(r, "a string");
	text = r->text + ++r->at;
	while (r->at < r->size && r->text[r->at] != '"') {
		if (!take_character(r, text, &used))
			return false;
	}
	if (r->at >= r->size)
		return json_pull_unexpected(r, "'\"' at the end of a string");
	/* At most where the closing quote stands. */
	text[used] = '\0';
	r->at++;
	*out = text;
	return true;
}
