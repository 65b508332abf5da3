/* SPDX-License-Identifier: MIT */
/* Text of any origin in scripts for gnuplot and in the data they read. */
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "cli/plot/figures.h"

#define TEXT_BYTES 1024 /* a longer text would leave any figure */

static bool in_range(unsigned char c, unsigned low, unsigned high)
{
	return c >= low && c <= high;
}

/* Bytes of the character at `at` if it can be drawn: printable ASCII, or well-formed UTF-8. 0: it cannot.
 * The second byte's range excludes overlong forms, surrogates, what lies beyond U+10FFFF, and the control
 * characters U+0080 to U+009F. */
static size_t drawable(const unsigned char *at)
{
	unsigned lead = at[0];
	unsigned low = lead == 0xc2 || lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	size_t n = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
	if (lead < 0x80)
		return lead >= 0x20 && lead != 0x7f;
	if (n == 0 || !in_range(at[1], low, high))
		return 0;
	for (size_t i = 2; i < n; i++)
		if (!in_range(at[i], 0x80, 0xbf))
			return 0;
	return n;
}

/* Quotes and backslashes, backticks, `@` and `$`, brackets and braces: gnuplot 5.4 looks at some of them even within
 * quotes (a title in single quotes cannot begin with a quote, and braces are counted where a loop ends). */
static bool has_a_meaning(unsigned char c)
{
	return c < 0x80 && !isalnum(c) && !strchr(" ,.;:()+-*/=<>_%^&~|?", c);
}

/* On one line; what cannot be drawn is shown as '?', as in messages. */
static void put(FILE *to, const char *text, bool quoted)
{
	const unsigned char *at = (const unsigned char *)text;
	while (*at) {
		size_t n = drawable(at);
		if (n && quoted && has_a_meaning(*at))
			fprintf(to, "\\%03o", *at);
		else if (n)
			(void)fwrite(at, 1, n, to);
		else
			fputc('?', to);
		at += n ? n : 1;
	}
}

static void put_format(FILE *to, bool quoted, const char *format, va_list args)
{
	char text[TEXT_BYTES];
	vsnprintf(text, sizeof text, format, args);
	put(to, text, quoted);
}

void figure_string(FILE *to, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputc('"', to);
	put_format(to, true, format, args);
	fputc('"', to);
	va_end(args);
}

void figure_comment(FILE *to, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("# ", to);
	put_format(to, false, format, args);
	fputc('\n', to);
	va_end(args);
}
