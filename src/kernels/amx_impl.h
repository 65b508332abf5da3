/* SPDX-License-Identifier: MIT */
/*
 * Products of bf16 weights with f32 inputs on matrix tiles; included before table_impl.h. The includer
 * defines TILES_CONFIGURE, TILES_RELEASE, TILE_ZERO, TILE_LOAD, TILE_STORE and TILE_DOT: the
 * instructions of AMX, or a test's plain C.
 *
 * An input is the sum of three bf16 (its upper, middle and lower 8 bits, exactly), so three tile
 * products give that of f32. Weights are the left factor, 16 rows by 32 columns just as they lie in
 * memory; inputs are the right one, in panels made once: for each 32 columns and each term, 16 pairs
 * of columns by up to 16 tokens. An element of the result is the sum over the columns in their order of
 * the upper terms, plus that of the lower and middle ones, whatever rows and tokens are beside it.
 */
#ifndef UFM_KERNELS_AMX_IMPL_H
#define UFM_KERNELS_AMX_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HAVE_TILES 1
#define PANEL_ROWS 16u   /* weight rows of a tile */
#define PANEL_TOKENS 16u /* that share a panel */
#define PANEL_COLUMNS 32u
#define PANEL_PAIRS (PANEL_COLUMNS / 2)
#define PANEL_TERMS 3u
/* Columns whose panels fit the stack, where the caller has none. */
#define PANEL_STACK_STEPS 16u
#define PANEL_WORDS_MAX (PANEL_TERMS * PANEL_PAIRS * PANEL_TOKENS)

/* As ldtilecfg reads it. */
typedef struct tile_shapes {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} tile_shapes;

/* The tiles: sums of two groups of rows, upper terms and the rest; their weights; inputs. */
enum { SUM_TILES = 4, WEIGHT_TILES_END = 6, INPUT_TILES_END = 8 };

static void tiles_shape(uint32_t rows, uint32_t tokens)
{
	tile_shapes shapes = {.palette = 1};

	for (int i = 0; i < INPUT_TILES_END; i++) {
		bool weights = i >= SUM_TILES && i < WEIGHT_TILES_END;
		shapes.rows[i] = (uint8_t)(i < WEIGHT_TILES_END ? rows : PANEL_PAIRS);
		shapes.row_bytes[i] = (uint16_t)(weights ? PANEL_COLUMNS * 2 : tokens * 4);
	}
	TILES_CONFIGURE(&shapes);
}

/* ------------------------------------------------------------------ inputs */

static uint32_t panel_steps(uint32_t k)
{
	return k / PANEL_COLUMNS + (k % PANEL_COLUMNS != 0);
}

/* Words from one pair of columns to the next: a power of two, so that no row crosses a line. */
static uint32_t panel_stride(uint32_t tokens)
{
	return tokens > 8 ? 16 : tokens > 4 ? 8 : 4;
}

/* Words of one step: all three terms. */
static size_t panel_words(uint32_t tokens)
{
	return (size_t)PANEL_TERMS * PANEL_PAIRS * panel_stride(tokens);
}

#define SPLIT_LANES 16
typedef float split_floats __attribute__((vector_size(SPLIT_LANES * 4)));
typedef uint32_t split_words __attribute__((vector_size(SPLIT_LANES * 4)));
typedef uint16_t split_halves __attribute__((vector_size(SPLIT_LANES * 2)));

/* Inputs as sums of three numbers of 8 bits; of an infinity the rest is 0. */
static inline void split_terms(const float x[PANEL_COLUMNS],
                               uint16_t terms[PANEL_TERMS][PANEL_COLUMNS])
{
	for (uint32_t c = 0; c < PANEL_COLUMNS; c += SPLIT_LANES) {
		split_floats rest;
		memcpy(&rest, x + c, sizeof rest);
		for (uint32_t i = PANEL_TERMS; i-- > 0;) {
			split_words bits = (split_words)rest;
			split_floats head = (split_floats)(bits & 0xffff0000u);
			split_words nothing = (split_words)(rest == head);
			split_halves upper = __builtin_convertvector(bits >> 16, split_halves);
			memcpy(&terms[i][c], &upper, sizeof upper);
			rest = (split_floats)((split_words)(rest - head) & ~nothing);
		}
	}
}

/* The panel of `count` columns from x on, the others being zeros. */
static void fill_panel(const float *x, uint32_t k, uint32_t count, uint32_t tokens, uint32_t *panel)
{
	uint32_t stride = panel_stride(tokens);

	for (uint32_t t = 0; t < tokens; t++) {
		float row[PANEL_COLUMNS] = {0.0f};
		uint16_t terms[PANEL_TERMS][PANEL_COLUMNS];
		uint32_t pairs[PANEL_TERMS * PANEL_PAIRS];
		memcpy(row, x + (size_t)t * k, count * sizeof row[0]);
		split_terms(row, terms);
		memcpy(pairs, terms, sizeof pairs);
		for (uint32_t p = 0; p < PANEL_TERMS * PANEL_PAIRS; p++)
			panel[p * stride + t] = pairs[p];
	}
}

/* Panels of the steps begin … end-1 for up to PANEL_TOKENS tokens. */
static void fill_panels(const float *x, uint32_t k, uint32_t tokens, uint32_t begin, uint32_t end,
                        uint32_t *panels)
{
	for (uint32_t s = begin; s < end; s++) {
		uint32_t column = s * PANEL_COLUMNS, left = k - column;
		fill_panel(x + column, k, left < PANEL_COLUMNS ? left : PANEL_COLUMNS, tokens,
		           panels + (s - begin) * panel_words(tokens));
	}
}

/* ------------------------------------------------------------------ products */

/* Rows that share the panels made for them and stay in the second cache for further tokens. */
static uint32_t tiles_block_rows(size_t row_bytes, uint32_t most)
{
	size_t fit = (size_t)512 * 1024 / row_bytes / (2 * PANEL_ROWS) * (2 * PANEL_ROWS);

	if (fit < 2 * PANEL_ROWS)
		return 2 * PANEL_ROWS;
	return fit < most ? (uint32_t)fit : most;
}

/* Some rows of weights times some steps of panels. */
typedef struct strip {
	const unsigned char *weights; /* of the first step */
	size_t row_bytes;
	uint32_t k, begin, end; /* steps */
	const uint32_t *panels; /* of step `begin` */
	uint32_t tokens;
	const unsigned char *ahead; /* weights needed next */
	bool in_order;              /* they are whole rows: fetched in the order of their addresses */
} strip;

/* How far ahead of its use a row is fetched where nothing else is known. */
#define ROW_AHEAD_BYTES 512

static inline void fetch_ahead(const strip *s, uint32_t step, uint32_t rows)
{
	const unsigned char *at = s->ahead + (size_t)step * 64 * (s->in_order ? rows : 1);
	size_t next = s->in_order ? 64 : s->row_bytes;

	for (uint32_t r = 0; r < rows; r++, at += next)
		__builtin_prefetch(at, 0, 2);
}

/* Rows of the last, short step with zeros behind them. */
static const unsigned char *padded(const strip *s, uint32_t step, uint32_t rows,
                                   unsigned char tail[PANEL_ROWS * 64])
{
	size_t count = s->k % PANEL_COLUMNS * 2;

	memset(tail, 0, (size_t)PANEL_ROWS * 64);
	for (uint32_t r = 0; r < rows; r++)
		memcpy(tail + (size_t)r * 64, s->weights + r * s->row_bytes + (size_t)step * 64, count);
	return tail;
}

static inline bool is_short(const strip *s, uint32_t step)
{
	return (step + 1) * PANEL_COLUMNS > s->k;
}

/* Tiles 0 and 1, of up to 16 rows; with 2 and 3, of 32. sums: two or four tiles. */
static void load_sums(const float *sums, bool both, bool first)
{
	if (first) {
		TILE_ZERO(0);
		TILE_ZERO(1);
		TILE_ZERO(2);
		TILE_ZERO(3);
		return;
	}
	TILE_LOAD(0, sums, 64);
	TILE_LOAD(1, sums + 256, 64);
	if (both) {
		TILE_LOAD(2, sums + 512, 64);
		TILE_LOAD(3, sums + 768, 64);
	}
}

static void store_sums(float *sums, bool both)
{
	TILE_STORE(0, sums, 64);
	TILE_STORE(1, sums + 256, 64);
	if (both) {
		TILE_STORE(2, sums + 512, 64);
		TILE_STORE(3, sums + 768, 64);
	}
}

static void one_group(const strip *s, uint32_t rows)
{
	size_t words = panel_words(s->tokens), term = words / PANEL_TERMS;
	size_t stride = panel_stride(s->tokens) * sizeof(uint32_t);
	_Alignas(64) unsigned char tail[PANEL_ROWS * 64];

	for (uint32_t i = s->begin; i < s->end; i++) {
		const uint32_t *panel = s->panels + (i - s->begin) * words;
		bool cut = is_short(s, i);
		fetch_ahead(s, i, rows);
		TILE_LOAD(4, cut ? padded(s, i, rows, tail) : s->weights + (size_t)i * 64,
		          cut ? 64 : s->row_bytes);
		TILE_LOAD(6, panel, stride);
		TILE_DOT(1, 4, 6);
		TILE_LOAD(7, panel + term, stride);
		TILE_DOT(1, 4, 7);
		TILE_LOAD(6, panel + 2 * term, stride);
		TILE_DOT(0, 4, 6);
	}
}

static void two_groups(const strip *s)
{
	size_t words = panel_words(s->tokens), term = words / PANEL_TERMS;
	size_t stride = panel_stride(s->tokens) * sizeof(uint32_t);
	_Alignas(64) unsigned char tails[2][PANEL_ROWS * 64];
	strip low = *s;

	low.weights += PANEL_ROWS * s->row_bytes;
	for (uint32_t i = s->begin; i < s->end; i++) {
		const uint32_t *panel = s->panels + (i - s->begin) * words;
		bool cut = is_short(s, i);
		size_t row_bytes = cut ? 64 : s->row_bytes;
		fetch_ahead(s, i, 2 * PANEL_ROWS);
		TILE_LOAD(4, cut ? padded(s, i, PANEL_ROWS, tails[0]) : s->weights + (size_t)i * 64,
		          row_bytes);
		TILE_LOAD(5, cut ? padded(&low, i, PANEL_ROWS, tails[1]) : low.weights + (size_t)i * 64,
		          row_bytes);
		TILE_LOAD(6, panel, stride);
		TILE_DOT(1, 4, 6);
		TILE_DOT(3, 5, 6);
		TILE_LOAD(7, panel + 2 * term, stride);
		TILE_DOT(0, 4, 7);
		TILE_DOT(2, 5, 7);
		TILE_LOAD(6, panel + term, stride);
		TILE_DOT(1, 4, 6);
		TILE_DOT(3, 5, 6);
	}
}

/* Sums of `rows` rows, in pairs of tiles, to out[t * out_stride + row]. */
static void write_sums(const float *sums, uint32_t rows, uint32_t tokens, float *out,
                       size_t out_stride)
{
	for (uint32_t r = 0; r < rows; r++) {
		const float *upper = sums + (size_t)(r / PANEL_ROWS) * 512 + (size_t)(r % PANEL_ROWS) * 16;
		for (uint32_t t = 0; t < tokens; t++)
			out[t * out_stride + r] = upper[t] + upper[256 + t];
	}
}

/* A block of rows, its columns cut into pieces whose panels are at hand. */
typedef struct tiled {
	const unsigned char *weights;
	size_t row_bytes;
	uint32_t rows, k, tokens;
	const unsigned char *then;
	float *sums; /* two tiles for each 16 rows */
} tiled;

/* The tiles of one size: rows first … first+count-1 (32, 16 or fewer than 16). */
static void add_rows(const tiled *b, strip *s, uint32_t first, uint32_t count)
{
	bool both = count > PANEL_ROWS;
	float *sums = b->sums + (size_t)first / PANEL_ROWS * 512;

	s->weights = b->weights + first * b->row_bytes;
	s->ahead = first + count < b->rows ? s->weights + count * b->row_bytes : b->then;
	s->in_order = s->ahead && s->end - s->begin == panel_steps(b->k);
	if (!s->ahead)
		s->ahead = s->weights + ROW_AHEAD_BYTES;
	load_sums(sums, both, s->begin == 0);
	if (both)
		two_groups(s);
	else
		one_group(s, count);
	store_sums(sums, both);
}

/* sums += weights times panels, for the steps begin … end-1 */
static void add_steps(const tiled *b, uint32_t begin, uint32_t end, const uint32_t *panels)
{
	strip s = {.row_bytes = b->row_bytes,
	           .k = b->k,
	           .begin = begin,
	           .end = end,
	           .panels = panels,
	           .tokens = b->tokens};
	uint32_t whole = b->rows / PANEL_ROWS * PANEL_ROWS, r = 0;

	if (whole)
		tiles_shape(PANEL_ROWS, b->tokens);
	for (; r + 2 * PANEL_ROWS <= whole; r += 2 * PANEL_ROWS)
		add_rows(b, &s, r, 2 * PANEL_ROWS);
	if (r < whole)
		add_rows(b, &s, r, PANEL_ROWS);
	if (whole < b->rows) {
		tiles_shape(b->rows - whole, b->tokens);
		add_rows(b, &s, whole, b->rows - whole);
	}
}

/* Without panels of the caller's they are made piece by piece; the sums wait meanwhile. */
static void add_all(const tiled *b, const float *x, const uint32_t *panels)
{
	_Alignas(64) uint32_t own[PANEL_STACK_STEPS * PANEL_WORDS_MAX];
	uint32_t steps = panel_steps(b->k);

	if (panels) {
		add_steps(b, 0, steps, panels);
		return;
	}
	for (uint32_t s = 0, n; s < steps; s += n) {
		n = steps - s < PANEL_STACK_STEPS ? steps - s : PANEL_STACK_STEPS;
		fill_panels(x, b->k, b->tokens, s, s + n, own);
		add_steps(b, s, s + n, own);
	}
}

#endif
