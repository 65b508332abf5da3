/* SPDX-License-Identifier: MIT */
/* What the C library leaves out about strings. */
#ifndef UFM_BASE_TEXT_H
#define UFM_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool text_ends_with(const char *text, const char *ending)
{
	size_t length = strlen(text), tail = strlen(ending);
	return length >= tail && strcmp(text + length - tail, ending) == 0;
}

/* A plain decimal below 10^9 that the text begins with; its length, or 0 where there is none. */
static inline size_t text_number(const char *text, uint32_t *out)
{
	size_t n = strspn(text, "0123456789");
	uint32_t value = 0;

	if (n == 0 || n > 9 || (n > 1 && text[0] == '0'))
		return 0;
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (uint32_t)(text[i] - '0');
	*out = value;
	return n;
}

#endif
