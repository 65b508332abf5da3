/* SPDX-License-Identifier: MIT */
/* Weights on their way from a file's type to ours. */
#ifndef UFM_STORE_CONVERT_INT_H
#define UFM_STORE_CONVERT_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

#define CONVERT_PIECE_BYTES 32768u /* of a file, on a thread's stack */

/* Converts `count` elements; `in` and `out` have any alignment. */
typedef void (*convert_fn)(const void *in, uint64_t count, void *out);

/* From F32, BF16 or F16 to F32 (exact) or BF16 (nearest, ties to even). Equal types are copied. */
convert_fn convert_find(ufm_dtype from, ufm_dtype to);

#endif
