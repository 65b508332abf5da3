/* SPDX-License-Identifier: MIT */
/*
 * Products of one token with rows in a storage format, included by coded_impl.h: what a step expands stays in
 * registers. Several rows take turns, because the next step of a row waits for its last one.
 */
#ifndef UFM_KERNELS_CODED_ONE_IMPL_H
#define UFM_KERNELS_CODED_ONE_IMPL_H

#include "kernels/expand_impl.h"

/* kept[r] += element (row + r, first + i) * x[i] along i, for r in 0 … rows-1. `first` and `count` as in expand_fn; x: the
 * token's input of column `first`. */
typedef void (*one_fn)(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                       uint32_t count, const float *x, vec *kept);

#if LANES > 1

#define ONE_ROWS 4
/* So many elements of a block as vectors, beside sums and scales, find room in the registers. */
#define ONE_ELEMENTS_MAX (LANES == 16 ? 256u : 32u)

/* Steps of `count` columns, a constant at every call and a multiple of LANES, of which w holds the weights. */
static ALWAYS_INLINE vec add_expanded(vec sum, const float *w, const float *x, uint32_t count)
{
	UNROLL for (uint32_t i = 0; i < count; i += LANES)
	{
		sum = v_fma(v_load(w + i), v_load(x + i), sum);
	}
	return sum;
}

/* The same of any number of columns: the last step may be short. */
static ALWAYS_INLINE vec add_last_of(vec sum, const float *w, const float *x, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += LANES) {
		uint32_t n = count - i < LANES ? count - i : LANES;
		sum = v_fma(v_load_part(w + i, n), v_load_part(x + i, n), sum);
	}
	return sum;
}

/* ------------------------------------------------------------------ blocks that carry their scales */

typedef void (*block_fn)(const uint8_t *block, shelf values, float *out);

/* rows, elements and bytes are constants at every call, so w never comes into memory. */
static ALWAYS_INLINE void one_of_blocks(const uint8_t *block, size_t row_bytes, uint32_t count,
                                        const float *x, vec *kept, block_fn expand, shelf values,
                                        uint32_t elements, uint32_t bytes, int rows)
{
	vec sums[ONE_ROWS];

	UNROLL for (int r = 0; r < rows; r++)
	{
		sums[r] = kept[r];
	}
	for (uint32_t i = 0; i < count; i += elements, block += bytes) {
		UNROLL for (int r = 0; r < rows; r++)
		{
			float w[FORMAT_STRIP];
			expand(block + (size_t)r * row_bytes, values, w);
			sums[r] = add_expanded(sums[r], w, x + i, elements);
		}
	}
	UNROLL for (int r = 0; r < rows; r++)
	{
		kept[r] = sums[r];
	}
}

#define DEFINE_ONE(name, block_fn, elements, bytes, codes) \
	static void one_##name(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first, \
	                       uint32_t count, const float *x, vec *kept) \
	{ \
		shelf values = shelf_of(codes); \
		const uint8_t *block = block_at(m, row, first, elements, bytes); \
		uint32_t r = 0; \
		for (; r + ONE_ROWS <= rows; r += ONE_ROWS) \
			one_of_blocks(block + r * m->row_bytes, m->row_bytes, count, x, kept + r, block_fn, \
			              values, elements, bytes, ONE_ROWS); \
		for (; r < rows; r++) \
			one_of_blocks(block + r * m->row_bytes, m->row_bytes, count, x, kept + r, block_fn, \
			              values, elements, bytes, 1); \
	}

FOR_BLOCKS(DEFINE_ONE)

/* ------------------------------------------------------------------ values that are scaled */

/* Some rows of a piece whose groups are known. */
typedef struct scaled_rows {
	const uint8_t *bytes; /* of the first row's first column */
	size_t row_bytes;
	const piece_groups *groups; /* [rows] */
	const float *x;
} scaled_rows;

/* Columns begin … end-1, all of group `at`. */
static ALWAYS_INLINE void one_of_group(const scaled_rows *s, uint32_t at, uint32_t begin,
                                       uint32_t end, vec *sums, group_fn expand, uint32_t per_byte,
                                       uint32_t lanes, int rows)
{
	vec scales[ONE_ROWS], zeros[ONE_ROWS];
	float w[2 * LANES];
	uint32_t i = begin;

	UNROLL for (int r = 0; r < rows; r++)
	{
		scales[r] = v_set(s->groups[r].scales[at]);
		zeros[r] = v_set(s->groups[r].zeros[at]);
	}
	for (; i + lanes <= end; i += lanes) {
		UNROLL for (int r = 0; r < rows; r++)
		{
			const uint8_t *bytes = s->bytes + (size_t)r * s->row_bytes + i / per_byte;
			float whole[2 * LANES];
			expand(bytes, 0, lanes, zeros[r], scales[r], whole);
			sums[r] = add_expanded(sums[r], whole, s->x + i, lanes);
		}
	}
	for (int r = 0; i < end && r < rows; r++) {
		const uint8_t *bytes = s->bytes + (size_t)r * s->row_bytes + i / per_byte;
		expand(bytes, 0, end - i, zeros[r], scales[r], w);
		sums[r] = add_last_of(sums[r], w, s->x + i, end - i);
	}
}

static ALWAYS_INLINE void one_of_scaled(const format_matrix *m, uint32_t row, uint32_t first,
                                        uint32_t count, const float *x, vec *kept, group_fn expand,
                                        group_fn exact, uint32_t per_byte, uint32_t lanes, int rows)
{
	piece_groups groups[ONE_ROWS];
	bool wide = true;
	vec sums[ONE_ROWS];
	scaled_rows s = {m->data + row * m->row_bytes + first / per_byte, m->row_bytes, groups, x};

	UNROLL for (int r = 0; r < rows; r++)
	{
		sums[r] = kept[r];
		find_groups(m, first, count, &groups[r]);
		read_groups(m, row + (uint32_t)r, &groups[r]);
		wide = wide && groups[r].wide;
	}
	uint32_t left = groups[0].first_cols;
	for (uint32_t i = 0, at = 0; i < count; at++, left = groups[0].cols) {
		uint32_t end = left < count - i ? i + left : count;
		if (wide)
			one_of_group(&s, at, i, end, sums, expand, per_byte, lanes, rows);
		else
			one_of_group(&s, at, i, end, sums, exact, per_byte, lanes, rows);
		i = end;
	}
	UNROLL for (int r = 0; r < rows; r++)
	{
		kept[r] = sums[r];
	}
}

#define DEFINE_ONE_SCALED(name, group_fn, exact_fn, per_byte, lanes) \
	static void one_##name(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first, \
	                       uint32_t count, const float *x, vec *kept) \
	{ \
		uint32_t r = 0; \
		for (; r + ONE_ROWS <= rows; r += ONE_ROWS) \
			one_of_scaled(m, row + r, first, count, x, kept + r, group_fn, exact_fn, per_byte, \
			              lanes, ONE_ROWS); \
		for (; r < rows; r++) \
			one_of_scaled(m, row + r, first, count, x, kept + r, group_fn, exact_fn, per_byte, \
			              lanes, 1); \
	}

FOR_SCALED(DEFINE_ONE_SCALED)

/* ------------------------------------------------------------------ halves */

static ALWAYS_INLINE void one_of_halves(const uint16_t *halves, size_t row_bytes, uint32_t count,
                                        const float *x, vec *kept, int rows)
{
	uint32_t whole = count / LANES * LANES;
	vec sums[ONE_ROWS];

	UNROLL for (int r = 0; r < rows; r++)
	{
		sums[r] = kept[r];
	}
	for (uint32_t i = 0; i < count; i += LANES) {
		vec input = i < whole ? v_load(x + i) : v_load_part(x + i, count - i);
		UNROLL for (int r = 0; r < rows; r++)
		{
			const uint16_t *at = halves + (size_t)r * (row_bytes / sizeof *halves) + i;
			vec w = i < whole ? v_load_f16(at) : v_load_f16_part(at, count - i);
			sums[r] = v_fma(w, input, sums[r]);
		}
	}
	UNROLL for (int r = 0; r < rows; r++)
	{
		kept[r] = sums[r];
	}
}

static void one_f16(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                    uint32_t count, const float *x, vec *kept)
{
	uint32_t r = 0;

	for (; r < rows; r += rows - r < ONE_ROWS ? 1 : ONE_ROWS) {
		const uint8_t *bytes = m->data + (row + r) * m->row_bytes;
		const uint16_t *halves = (const uint16_t *)(const void *)bytes + first;
		if (rows - r < ONE_ROWS)
			one_of_halves(halves, m->row_bytes, count, x, kept + r, 1);
		else
			one_of_halves(halves, m->row_bytes, count, x, kept + r, ONE_ROWS);
	}
}

#endif
#endif
