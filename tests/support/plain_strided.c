/* SPDX-License-Identifier: MIT */
/* A matrix at two strides brought into rows, one element after the other. */
#include "support/plain_strided.h"

#include <string.h>

#include "base/bf16.h"
#include "base/f16.h"

uint64_t plain_strided_unit(ufm_dtype dtype)
{
	return dtype ? ufm_dtype_bytes(dtype) : 1;
}

static void put(ufm_dtype to, float value, uint8_t *out)
{
	uint16_t half = bf16_from_f32(value);

	memcpy(out, to == UFM_F32 ? (void *)&value : (void *)&half, ufm_dtype_bytes(to));
}

static void convert(ufm_dtype from, ufm_dtype to, const uint8_t *in, uint8_t *out)
{
	uint16_t half;
	float value;

	if (from == to) {
		memcpy(out, in, plain_strided_unit(to));
	} else if (from == UFM_F32) {
		memcpy(&value, in, sizeof value);
		put(to, value, out);
	} else {
		memcpy(&half, in, sizeof half);
		put(to, from == UFM_F16 ? f16_to_f32(half) : bf16_to_f32(half), out);
	}
}

void plain_strided_read(const plain_strided *m, const uint8_t *first, uint8_t *out)
{
	uint64_t from_bytes = plain_strided_unit(m->from), to_bytes = plain_strided_unit(m->to);

	for (uint64_t row = 0; row < m->rows; row++) {
		for (uint64_t col = 0; col < m->cols; col++)
			convert(m->from, m->to,
			        first + (row * m->row_stride + col * m->col_stride) * from_bytes,
			        out + (row * m->cols + col) * to_bytes);
	}
}

uint64_t plain_strided_bytes(const plain_strided *m)
{
	return ((m->rows - 1) * m->row_stride + (m->cols - 1) * m->col_stride + 1) *
	       plain_strided_unit(m->from);
}
