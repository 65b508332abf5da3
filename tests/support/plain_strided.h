/* SPDX-License-Identifier: MIT */
/* A matrix at two strides brought into rows, one element after the other. */
#ifndef UFM_TESTS_PLAIN_STRIDED_H
#define UFM_TESTS_PLAIN_STRIDED_H

#include <stdint.h>
#include <ufm/ufm.h>

typedef struct plain_strided {
	ufm_dtype from, to; /* both 0: bytes */
	uint64_t rows, cols, row_stride, col_stride;
} plain_strided;

/* Bytes of an element. */
uint64_t plain_strided_unit(ufm_dtype dtype);

/* `first` is where element (0, 0) lies; any alignment. */
void plain_strided_read(const plain_strided *m, const uint8_t *first, uint8_t *out);

/* From the first element to the end of the last. */
uint64_t plain_strided_bytes(const plain_strided *m);

#endif
