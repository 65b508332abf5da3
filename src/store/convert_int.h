/* SPDX-License-Identifier: MIT */
/* Weights on their way from a file's type to ours. */
#ifndef UFM_STORE_CONVERT_INT_H
#define UFM_STORE_CONVERT_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

#define CONVERT_PIECE_BYTES 32768u /* of a file, on a thread's stack */

/* Converts `count` elements; `in` and `out` have any alignment. */
typedef void (*convert_fn)(const void *in, uint64_t count, void *out);

/* Of an element; 1 for 0, which is a byte of whatever it is. */
static inline uint64_t convert_element_bytes(ufm_dtype dtype)
{
	return dtype ? ufm_dtype_bytes(dtype) : 1;
}

/* From F32, BF16 or F16 to F32 (exact) or BF16 (nearest, ties to even). Equal types, 0 among them, are copied. */
convert_fn convert_find(ufm_dtype from, ufm_dtype to);

#endif
