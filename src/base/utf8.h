/* SPDX-License-Identifier: MIT */
/* Well-formed UTF-8, in text that others wrote. */
#ifndef UFM_BASE_UTF8_H
#define UFM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length of the well-formed sequence at `at`, of `left` bytes there; 0 when it is none. */
size_t utf8_sequence(const unsigned char *at, size_t left);
/* Whether all of the bytes are such sequences. */
bool utf8_is_valid(const unsigned char *text, size_t size);

#endif
