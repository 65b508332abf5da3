/* SPDX-License-Identifier: MIT */
/* What the C library leaves out about strings. */
#ifndef UFM_BASE_TEXT_H
#define UFM_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline bool text_ends_with(const char *text, const char *ending)
{
	size_t length = strlen(text), tail = strlen(ending);
	return length >= tail && strcmp(text + length - tail, ending) == 0;
}

#endif
