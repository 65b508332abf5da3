/* SPDX-License-Identifier: MIT */
/*
 * Products of a matrix in a storage format; included by table_impl.h. A piece of some rows becomes f32 (expand_impl.h),
 * once for many tokens, and goes through the steps that f32 has, tile by tile. Between two pieces the sums of all tiles
 * are kept as they are, so each sees one sequence of steps along k and has the bits that these weights give as f32.
 *
 * Nothing here uses matrix tiles. MXFP4, E4M3 and E2M1 without their scales are exact as bf16, so tiles could multiply
 * them group by group; the scaled sums would have other bits than f32 gives.
 */
#ifndef UFM_KERNELS_CODED_IMPL_H
#define UFM_KERNELS_CODED_IMPL_H

#include "kernels/coded_one_impl.h"
#include "kernels/expand_impl.h"

/* Rows and tokens that share a piece. Few tokens take shorter pieces, which stay in the first cache. */
#define PIECE_ROWS BLOCK_ROWS_STEP
#define PIECE_TOKENS 48u
#define PIECE_FEW FORMAT_STRIP
/* Rows of so many bytes are left to the processor to fetch: they would drive each other from the cache. */
#define FETCH_MAX_BYTES ((size_t)256 * 1024)

typedef struct coded_matrix {
	format_matrix m;
	expand_fn expand;
	one_fn one; /* NULL: there is none */
} coded_matrix;

static coded_matrix coded_matrix_of(const ufm_expert_desc *desc, const void *block, ufm_role role)
{
	coded_matrix c = {format_matrix_of(desc, block, role), expand_by_definition, NULL};

#if LANES > 1
	switch ((int)c.m.part->format) {
#define CASE_OF_BLOCKS(name, block_fn, elements, ...) \
	case UFM_FORMAT_##name: \
		c.expand = expand_##name; \
		c.one = (elements) <= ONE_ELEMENTS_MAX ? one_##name : NULL; \
		break;
#define CASE_OF_SCALED(name, ...) \
	case UFM_FORMAT_##name: \
		c.expand = expand_##name; \
		c.one = one_##name; \
		break;
		FOR_BLOCKS(CASE_OF_BLOCKS)
		FOR_SCALED(CASE_OF_SCALED)
	case UFM_FORMAT_PLAIN:
		if (c.m.part->dtype == UFM_F16) {
			c.expand = expand_f16;
			c.one = one_f16;
		}
	}
#endif
	return c;
}

typedef struct piece {
	const float *w; /* [rows] of PIECE_STRIDE */
	const float *x; /* its columns of the first token of a tile */
	uint32_t rows, k, count;
	bool first, last; /* of the row */
	vec *sums;        /* of the tile of tokens: [rows, tokens] */
	float *out;       /* where the last piece's totals go */
	size_t out_stride;
} piece;

/* The piece's part of some rows times some tokens; constants at every call. */
static ALWAYS_INLINE void advance(const piece *p, uint32_t row, int rows, int tokens)
{
	const unsigned char *w = (const unsigned char *)(p->w + (size_t)row * PIECE_STRIDE);
	const size_t w_bytes = PIECE_STRIDE * sizeof(float);
	vec *kept = p->sums + row * (uint32_t)tokens, sums[TILE_MAX + 3];
	uint32_t whole = p->count / LANES * LANES;
	float totals[TILE_MAX + 3];

	UNROLL for (int s = 0; s < rows * tokens + 3; s++)
	{
		sums[s] = p->first || s >= rows * tokens ? v_set(0.0f) : kept[s];
	}
	for (uint32_t i = 0; i < whole; i += LANES)
		step(sums, w, w_bytes, false, p->x, p->k, i, LANES, rows, tokens);
	if (whole < p->count)
		step(sums, w, w_bytes, false, p->x, p->k, whole, p->count - whole, rows, tokens);
	if (!p->last) {
		UNROLL for (int s = 0; s < rows * tokens; s++)
		{
			kept[s] = sums[s];
		}
		return;
	}
	UNROLL for (int s = 0; s < rows * tokens; s += 4)
	{
		v_sums4(sums[s], sums[s + 1], sums[s + 2], sums[s + 3], totals + s);
	}
	UNROLL for (int s = 0; s < rows * tokens; s++)
	{
		p->out[(size_t)(s / rows) * p->out_stride + row + (size_t)(s % rows)] = totals[s];
	}
}

static ALWAYS_INLINE void advance_all(const piece *p, int tokens)
{
	uint32_t r = 0, most = (uint32_t)tile_rows(tokens);

	for (; r + most <= p->rows; r += most)
		advance(p, r, tile_rows(tokens), tokens);
	for (; most > 2 && r + 2 <= p->rows; r += 2)
		advance(p, r, 2, tokens);
	for (; r < p->rows; r++)
		advance(p, r, 1, tokens);
}

typedef void (*advance_fn)(const piece *p);

#define DEFINE_ADVANCE(tokens) \
	static void advance_##tokens(const piece *p) \
	{ \
		advance_all(p, tokens); \
	}

DEFINE_ADVANCE(1)
DEFINE_ADVANCE(2)
DEFINE_ADVANCE(3)
DEFINE_ADVANCE(4)
#if TILE_TOKENS > 4
DEFINE_ADVANCE(5)
DEFINE_ADVANCE(6)
#endif

static advance_fn find_advance(uint32_t tokens)
{
	static const advance_fn all[] = {
		advance_1,
		advance_2,
		advance_3,
		advance_4,
#if TILE_TOKENS > 4
		advance_5,
		advance_6,
#endif
	};

	return all[tokens - 1];
}

/* One piece times all tokens, which are spread evenly over the tiles. */
static void advance_tokens(const piece *whole, uint32_t tokens)
{
	uint32_t tiles = (tokens + TILE_TOKENS - 1) / TILE_TOKENS;
	piece p = *whole;

	for (uint32_t t = 0; tiles; tiles--) {
		uint32_t count = (tokens - t + tiles - 1) / tiles;
		find_advance(count)(&p);
		p.x += (size_t)count * p.k;
		p.out += count * p.out_stride;
		p.sums += count * PIECE_ROWS;
		t += count;
	}
}

/* Rows that are needed next, fetched into the second cache with the pieces of those before them, in the order of their
 * addresses; and of rows that nobody has fetched before, the pieces after the next. */
typedef struct rows_ahead {
	const unsigned char *at; /* NULL: nothing is known to come */
	size_t part_bytes;
	const unsigned char *own; /* of the piece after the next, or NULL */
	size_t own_bytes, row_bytes;
	uint32_t rows;
} rows_ahead;

static ALWAYS_INLINE void fetch_bytes(const unsigned char *at, size_t bytes)
{
	for (size_t line = 0; line < bytes; line += LINE_BYTES)
		__builtin_prefetch(at + line, 0, 2);
}

static void fetch_own(rows_ahead *next)
{
	for (uint32_t r = 0; r < next->rows; r++)
		fetch_bytes(next->own + r * next->row_bytes, next->own_bytes);
	next->own += next->own_bytes;
}

static void fetch_part(rows_ahead *next)
{
	if (next->at)
		fetch_bytes(next->at, next->part_bytes);
	next->at = next->at ? next->at + next->part_bytes : NULL;
	if (next->own)
		fetch_own(next);
}

/* `cold`: these rows were not fetched before. */
static rows_ahead aim_rows(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t length,
                           const unsigned char *then, bool cold)
{
	size_t bytes = rows * m->row_bytes, pieces = m->part->cols / length + 1;
	rows_ahead next = {.row_bytes = m->row_bytes, .rows = rows};

	if (then && bytes <= FETCH_MAX_BYTES) {
		next.at = then;
		next.part_bytes = bytes / pieces + 1;
	}
	if (cold) {
		next.own = m->data + row * m->row_bytes;
		next.own_bytes = m->row_bytes / pieces + 1;
		fetch_own(&next);
		fetch_own(&next);
	}
	return next;
}

/* Up to PIECE_ROWS rows and one token. */
static void coded_rows_one(const coded_matrix *c, uint32_t row, uint32_t rows, const float *x,
                           float *out, const unsigned char *then, bool cold)
{
	vec sums[PIECE_ROWS];
	float totals[PIECE_ROWS];
	uint32_t k = c->m.part->cols;
	rows_ahead next = aim_rows(&c->m, row, rows, PIECE_MAX, then, cold);

	for (uint32_t r = 0; r < PIECE_ROWS; r++)
		sums[r] = v_set(0.0f);
	for (uint32_t first = 0, count; first < k; first += count) {
		count = k - first < PIECE_MAX ? k - first : PIECE_MAX;
		fetch_part(&next);
		c->one(&c->m, row, rows, first, count, x + first, sums);
	}
	for (uint32_t r = 0; r < PIECE_ROWS; r += 4)
		v_sums4(sums[r], sums[r + 1], sums[r + 2], sums[r + 3], totals + r);
	memcpy(out, totals, rows * sizeof *out);
}

/* Up to PIECE_ROWS rows and PIECE_TOKENS tokens. */
/* NOLINTBEGIN(readability-non-const-parameter): what `out` points to is written through the piece */
static void coded_rows(const coded_matrix *c, uint32_t row, uint32_t rows, const float *x,
                       uint32_t tokens, float *out, size_t out_stride, const unsigned char *then,
                       bool cold)
/* NOLINTEND(readability-non-const-parameter) */
{
	_Alignas(64) float w[PIECE_ROWS * PIECE_STRIDE];
	vec sums[PIECE_ROWS * PIECE_TOKENS];
	uint32_t k = c->m.part->cols, length = tokens > TILE_TOKENS ? PIECE_MAX : PIECE_FEW;
	rows_ahead next = aim_rows(&c->m, row, rows, length, then, cold);
	piece p = {.w = w, .rows = rows, .k = k, .sums = sums, .out = out, .out_stride = out_stride};

	for (uint32_t first = 0; first < k; first += length) {
		p.count = k - first < length ? k - first : length;
		p.first = first == 0;
		p.last = first + p.count == k;
		p.x = x + first;
		fetch_part(&next);
		c->expand(&c->m, row, rows, first, p.count, w);
		advance_tokens(&p, tokens);
	}
}

/* As `multiply`, of a coded matrix. */
static void coded_multiply(const coded_matrix *c, uint32_t begin, uint32_t end, const float *x,
                           uint32_t tokens, float *out, size_t out_stride,
                           const unsigned char *then)
{
	uint32_t k = c->m.part->cols, parts = (tokens + PIECE_TOKENS - 1) / PIECE_TOKENS;

	for (uint32_t t = 0; parts; parts--) {
		uint32_t count = (tokens - t + parts - 1) / parts;
		for (uint32_t row = begin, rows; row < end; row += rows) {
			rows = end - row < PIECE_ROWS ? end - row : PIECE_ROWS;
			const uint8_t *following = c->m.data + (row + rows) * c->m.row_bytes;
			const unsigned char *ahead_at = row + rows < end ? following : then;
			float *at = out + t * out_stride + (row - begin);
			if (c->one && count == 1)
				coded_rows_one(c, row, rows, x + (size_t)t * k, at, ahead_at, row == begin);
			else
				coded_rows(c, row, rows, x + (size_t)t * k, count, at, out_stride, ahead_at,
				           row == begin);
		}
		t += count;
	}
}

#endif
