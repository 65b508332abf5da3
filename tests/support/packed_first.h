/* SPDX-License-Identifier: MIT */
/* The header of a packed bank as the first version had it, which nothing writes any more. */
#ifndef UFM_TESTS_PACKED_FIRST_H
#define UFM_TESTS_PACKED_FIRST_H

#include <string.h>

#include "bank/bank.h"
#include "base/hash.h"

#define PACKED_FIRST_PARTS 8

/* Makes the checksum right. */
static inline void packed_sum(uint8_t header[BANK_PACKED_HEADER_BYTES])
{
	uint64_t sum = hash_bytes(HASH_SEED, header, BANK_PACKED_HEADER_BYTES - 8);

	for (unsigned i = 0; i < 8; i++)
		header[BANK_PACKED_HEADER_BYTES - 8 + i] = (uint8_t)(sum >> (8 * i));
}

/* Of a bank of at most eight plain parts: parts of 24 bytes, without a format, and the parameters at 256. */
static inline void packed_first(const bank_shape *shape, uint8_t out[BANK_PACKED_HEADER_BYTES])
{
	uint8_t second[BANK_PACKED_HEADER_BYTES];

	bank_packed_header(shape, second);
	memset(out, 0, BANK_PACKED_HEADER_BYTES);
	memcpy(out, second, 64);
	out[8] = 1;
	for (size_t i = 0; i < PACKED_FIRST_PARTS; i++)
		memcpy(out + 64 + 24 * i, second + 64 + 40 * i, 24);
	memcpy(out + 256, second + 704, 20);
	packed_sum(out);
}

#endif
