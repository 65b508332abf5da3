/* SPDX-License-Identifier: MIT */
/*
 * Products of a weight matrix with token rows; included by table_impl.h in the file of each
 * instruction set, which defines vec, LANES, TILE_ROWS, TILE_TOKENS, TILE_MAX (the sums that fit the
 * registers beside them) and the v_ functions.
 *
 * A tile is some weight rows times some tokens, one vector sum for each pair, all along k: every sum
 * sees the same steps in the same order whatever the tile's size. Loops, from the outside: a block of
 * weight rows that stays in the cache, the tiles of tokens, the rows of the block. So weights are
 * read from memory once and inputs come from the nearest cache.
 */
#ifndef UFM_KERNELS_TILE_IMPL_H
#define UFM_KERNELS_TILE_IMPL_H

#include <stdbool.h>
#include <stddef.h>

#include "format/format.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Weight rows of a block: multiples of a step that every tile's rows divide, and the bytes that a block
 * should not pass. */
#define BLOCK_ROWS_STEP 12
#ifdef HAVE_TILES
#define BLOCK_ROWS_MAX 96
#else
#define BLOCK_ROWS_MAX 48
#endif
#define BLOCK_BYTES (128 * 1024)

/* Row-major [rows, k]. */
typedef struct matrix {
	const unsigned char *data;
	uint32_t k;
	bool bf16;
	const struct coded_matrix *coded; /* what is neither f32 nor bf16 in memory, or NULL */
	size_t row_bytes;
} matrix;

static ALWAYS_INLINE size_t row_bytes(uint32_t k, bool bf16)
{
	return (size_t)k * (bf16 ? sizeof(uint16_t) : sizeof(float));
}

static ALWAYS_INLINE vec load_weights(const unsigned char *row, bool bf16, uint32_t i)
{
	return bf16 ? v_load_bf16((const uint16_t *)(const void *)row + i)
	            : v_load((const float *)(const void *)row + i);
}

static ALWAYS_INLINE vec load_weights_part(const unsigned char *row, bool bf16, uint32_t i,
                                           uint32_t count)
{
	return bf16 ? v_load_bf16_part((const uint16_t *)(const void *)row + i, count)
	            : v_load_part((const float *)(const void *)row + i, count);
}

/* One step along k of a tile. The last may be short: the lanes past the end are zeros. */
static ALWAYS_INLINE void step(vec *sums, const unsigned char *w, size_t w_bytes, bool bf16,
                               const float *x, uint32_t k, uint32_t i, uint32_t count, int rows,
                               int tokens)
{
	vec weights[TILE_ROWS];

	UNROLL for (int r = 0; r < rows; r++)
	{
		const unsigned char *row = w + (size_t)r * w_bytes;
		weights[r] =
			count == LANES ? load_weights(row, bf16, i) : load_weights_part(row, bf16, i, count);
	}
	UNROLL for (int t = 0; t < tokens; t++)
	{
		const float *at = x + (size_t)t * k + i;
		vec input = count == LANES ? v_load(at) : v_load_part(at, count);
		UNROLL for (int r = 0; r < rows; r++)
		{
			sums[t * rows + r] = v_fma(weights[r], input, sums[t * rows + r]);
		}
	}
}

/* Weight rows of a tile of so many tokens. */
static ALWAYS_INLINE int tile_rows(int tokens)
{
	return TILE_MAX / tokens < TILE_ROWS ? TILE_MAX / tokens : TILE_ROWS;
}

/* The weights needed next are fetched into the second cache, a little at every step and in the order
 * of their addresses: memory sees one stream instead of one a row, which begins before the tile that
 * uses it does and does not stop while later tokens use what is in the cache already. */
typedef struct ahead {
	const unsigned char *at;
	size_t step_bytes;         /* 0: nothing is known to come */
	const unsigned char *then; /* what follows the block, or NULL */
	bool one_pass;             /* the next tile is fetched, else the next block */
} ahead;

#define LINE_BYTES 64

static ALWAYS_INLINE void fetch(ahead *next, bool bf16, int rows)
{
	size_t most = (size_t)rows * LANES * (bf16 ? sizeof(uint16_t) : sizeof(float));

	for (size_t line = 0; line < most; line += LINE_BYTES)
		__builtin_prefetch(next->at + line, 0, 2);
	next->at += next->step_bytes;
}

/* Before the tile of `rows` rows at w, `left` rows before the block's end. */
static ALWAYS_INLINE void aim(ahead *next, const unsigned char *w, size_t w_bytes, bool bf16,
                              uint32_t left, int rows)
{
	if (!next->one_pass)
		return;
	bool last = left <= (uint32_t)rows;
	next->at = !last ? w + (size_t)rows * w_bytes : next->then ? next->then : w;
	next->step_bytes =
		last && !next->then ? 0 : (size_t)rows * LANES * (bf16 ? sizeof(uint16_t) : sizeof(float));
}

/* out[t * out_stride + r] = w[r] . x[t]; rows and tokens are constants at every call. */
static ALWAYS_INLINE void tile(const unsigned char *w, bool bf16, const float *x, uint32_t k,
                               float *out, size_t out_stride, ahead *next, int rows, int tokens)
{
	size_t w_bytes = row_bytes(k, bf16);
	uint32_t whole = k / LANES * LANES;
	vec sums[TILE_MAX + 3];
	float totals[TILE_MAX + 3];

	UNROLL for (int s = 0; s < rows * tokens + 3; s++)
	{
		sums[s] = v_set(0.0f);
	}
	for (uint32_t i = 0; i < whole; i += LANES) {
		fetch(next, bf16, rows);
		step(sums, w, w_bytes, bf16, x, k, i, LANES, rows, tokens);
	}
	if (whole < k)
		step(sums, w, w_bytes, bf16, x, k, whole, k - whole, rows, tokens);
	UNROLL for (int s = 0; s < rows * tokens; s += 4)
	{
		v_sums4(sums[s], sums[s + 1], sums[s + 2], sums[s + 3], totals + s);
	}
	UNROLL for (int s = 0; s < rows * tokens; s++)
	{
		out[(size_t)(s / rows) * out_stride + (size_t)(s % rows)] = totals[s];
	}
}

/* All rows of a block times one tile of tokens. */
static ALWAYS_INLINE void sweep(const unsigned char *w, bool bf16, uint32_t rows, const float *x,
                                uint32_t k, float *out, size_t out_stride, ahead *next, int tokens)
{
	size_t w_bytes = row_bytes(k, bf16);
	uint32_t r = 0, most = (uint32_t)tile_rows(tokens);

	for (; r + most <= rows; r += most) {
		aim(next, w + r * w_bytes, w_bytes, bf16, rows - r, tile_rows(tokens));
		tile(w + r * w_bytes, bf16, x, k, out + r, out_stride, next, tile_rows(tokens), tokens);
	}
	for (; most > 2 && r + 2 <= rows; r += 2) {
		aim(next, w + r * w_bytes, w_bytes, bf16, rows - r, 2);
		tile(w + r * w_bytes, bf16, x, k, out + r, out_stride, next, 2, tokens);
	}
	for (; r < rows; r++) {
		aim(next, w + r * w_bytes, w_bytes, bf16, rows - r, 1);
		tile(w + r * w_bytes, bf16, x, k, out + r, out_stride, next, 1, tokens);
	}
}

typedef void (*sweep_fn)(const unsigned char *w, uint32_t rows, const float *x, uint32_t k,
                         float *out, size_t out_stride, ahead *next);

#define DEFINE_SWEEP(name, bf16, tokens) \
	static void name##_##tokens(const unsigned char *w, uint32_t rows, const float *x, uint32_t k, \
	                            float *out, size_t out_stride, ahead *next) \
	{ \
		sweep(w, bf16, rows, x, k, out, out_stride, next, tokens); \
	}
#define DEFINE_SWEEPS(tokens) \
	DEFINE_SWEEP(sweep_f32, false, tokens) DEFINE_SWEEP(sweep_bf16, true, tokens)

DEFINE_SWEEPS(1)
DEFINE_SWEEPS(2)
DEFINE_SWEEPS(3)
DEFINE_SWEEPS(4)
#if TILE_TOKENS > 4
DEFINE_SWEEPS(5)
DEFINE_SWEEPS(6)
#endif

static sweep_fn find_sweep(bool bf16, uint32_t tokens)
{
	static const sweep_fn of_f32[] = {
		sweep_f32_1,
		sweep_f32_2,
		sweep_f32_3,
		sweep_f32_4,
#if TILE_TOKENS > 4
		sweep_f32_5,
		sweep_f32_6,
#endif
	};
	static const sweep_fn of_bf16[] = {
		sweep_bf16_1,
		sweep_bf16_2,
		sweep_bf16_3,
		sweep_bf16_4,
#if TILE_TOKENS > 4
		sweep_bf16_5,
		sweep_bf16_6,
#endif
	};

	return (bf16 ? of_bf16 : of_f32)[tokens - 1];
}

static const unsigned char *matrix_row(const matrix *m, uint32_t row)
{
	return m->data + row * m->row_bytes;
}

/* out[t * out_stride + (u - begin)] = m[u] . x[t] for the rows begin … end-1 of one block of f32 or bf16. `then`:
 * where the weights of the next block lie, or NULL. */
static void multiply(const matrix *m, uint32_t begin, uint32_t end, const float *x, uint32_t tokens,
                     float *out, size_t out_stride, const unsigned char *then)
{
	const unsigned char *w = matrix_row(m, begin);
	uint32_t tiles = (tokens + TILE_TOKENS - 1) / TILE_TOKENS;
	ahead next = {.at = w, .then = then, .one_pass = tiles == 1};

	if (then && tiles > 1) {
		int rows = tile_rows((int)((tokens + tiles - 1) / tiles));
		next.at = then;
		next.step_bytes = row_bytes((uint32_t)rows * LANES, m->bf16) / tiles;
	}
	/* Spread evenly: 4 + 4 is faster than 6 + 2. */
	for (uint32_t t = 0; tiles; tiles--) {
		uint32_t count = (tokens - t + tiles - 1) / tiles;
		find_sweep(m->bf16, count)(w, end - begin, x + (size_t)t * m->k, m->k, out + t * out_stride,
		                           out_stride, &next);
		t += count;
	}
}

/* Rows of m that make a block. */
static uint32_t block_rows(const matrix *m)
{
	size_t fit = BLOCK_BYTES / m->row_bytes;

#ifdef HAVE_TILES
	if (m->bf16)
		return tiles_block_rows(m->row_bytes, BLOCK_ROWS_MAX);
#endif
	if (fit < 2 * BLOCK_ROWS_STEP)
		return fit < BLOCK_ROWS_STEP ? TILE_ROWS : BLOCK_ROWS_STEP;
	fit = fit / BLOCK_ROWS_STEP * BLOCK_ROWS_STEP;
	return fit < BLOCK_ROWS_MAX ? (uint32_t)fit : BLOCK_ROWS_MAX;
}

#endif
