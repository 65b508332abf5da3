/* SPDX-License-Identifier: MIT */
/* Sizes as people write them. */
#ifndef UFM_BASE_SIZE_H
#define UFM_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

/* The next multiple of unit >= 1 at or above value, which must not be within a unit of 2^64. */
static inline uint64_t size_round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

/* "17179869184", "16GiB", "23.51GiB", "512 MiB", "64KiB", "2TiB", "100B"; case-insensitive suffix.
 * A fraction needs a suffix, has at most 18 digits and is rounded down to a byte. UFM_EINVAL with
 * the text and what was expected: empty, sign, other suffix ("GB" is refused by name: decimal units
 * are not sizes here), overflow of 2^63. */
ufm_status size_parse(const char *text, uint64_t *size_bytes);

/* "16.00 GiB", "8.00 MiB", "512 B", rounded to the nearest hundredth; always NUL-terminated.
 * Returns buffer. */
char *size_format(uint64_t size_bytes, char *buffer, size_t buffer_size);

/* The same in no larger a unit than 2^shift bytes. */
char *size_format_in(uint64_t size_bytes, uint32_t shift, char *buffer, size_t buffer_size);

/* For sizes that are read beside each other: the largest shift with which different ones look different; 0: bytes. */
uint32_t size_shift_apart(const uint64_t *sizes_bytes, uint32_t count);
/* Two that are compared. */
void size_format_apart(uint64_t a_bytes, uint64_t b_bytes, char a[32], char b[32]);

#endif
