/* SPDX-License-Identifier: MIT */
/* Weights on their way from a file's type to ours. */
#ifndef UFM_STORE_CONVERT_INT_H
#define UFM_STORE_CONVERT_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

#define CONVERT_PIECE 16384u /* elements: 32 KiB of halves on a thread's stack */

/* Half precision to f32 (exact) or bf16 (nearest, ties to even). `out` has any alignment. */
void convert_f16(const uint16_t *in, uint64_t count, ufm_dtype to, void *out);
/* bf16 to f32, exact. */
void convert_bf16(const uint16_t *in, uint64_t count, float *out);

#endif
