/* SPDX-License-Identifier: MIT */
/* A matrix whose elements lie in a file at two strides. */
#ifndef UFM_STORE_STRIDED_INT_H
#define UFM_STORE_STRIDED_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

#include "bank/bank.h"

/* Gives size_bytes of the file, from_bytes behind the matrix's first element. */
typedef ufm_status (*strided_source)(void *ctx, uint64_t from_bytes, uint64_t size_bytes,
                                     void *out);

/* Reads an EXTENT_STRIDED in bands of what the buffer holds and writes it, row by row and converted, to
 * `out`. The buffer has room for an element at least. What lies between two wanted lines is read with
 * them where it is not more than they are. The first failure of the source ends it. */
ufm_status strided_read(const bank_extent *extent, strided_source source, void *ctx, void *buffer,
                        uint64_t buffer_bytes, void *out);

/* From the first element to the end of the last, in the file. */
uint64_t strided_span_bytes(const bank_extent *extent);

#endif
