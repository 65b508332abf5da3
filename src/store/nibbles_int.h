/* SPDX-License-Identifier: MIT */
/* Values of four bits that lie in a file in words of eight, packed along the axis that is a block's rows. */
#ifndef UFM_STORE_NIBBLES_INT_H
#define UFM_STORE_NIBBLES_INT_H

#include "bank/bank.h"
#include "store/strided_int.h"

/* Reads an EXTENT_NIBBLES and writes it row by row to `out`: every value, exactly. Words are little-endian. Of both
 * strides one is 1, and the words of an extent lie one behind the other; rows that do not fill a word leave its other nibbles unread, and
 * columns of a matrix that is not `nibbles_apart` are even. The first failure of the source ends it; UFM_ENOMEM. */
ufm_status nibbles_read(const bank_extent *extent, strided_source source, void *ctx, void *out);

#endif
