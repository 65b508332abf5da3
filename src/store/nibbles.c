/* SPDX-License-Identifier: MIT */
/* Turns words of eight values that belong to eight rows into rows. Words are read in bands of whole lines, and picked
 * in runs of columns: what a run touches of the band stays in the cache until all rows have their part of it. */
#include "store/nibbles_int.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"

#define BAND_BYTES ((uint64_t)1 << 20)
#define WORD_BYTES 4u
#define PER_WORD 8u
/* Columns at a time; even, so that no byte of a row is written by two of them. */
#define RUN 32u

typedef struct reader {
	const bank_extent *extent;
	uint64_t row_words;     /* words along the axis of rows */
	bool by_cols;           /* a line of the file is a column, else it is eight rows */
	uint64_t lines, length; /* words of a line */
	uint32_t *band;
	uint8_t *out;
} reader;

/* Words of the band: which are there, and where they belong. */
typedef struct piece {
	uint64_t word, words; /* along the axis of rows */
	uint64_t col, cols;
	uint64_t word_stride, col_stride; /* in the band */
} piece;

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Rows that a word has: all but the last have eight. */
static uint32_t rows_of(const reader *r, uint64_t word)
{
	return (uint32_t)min_u64(PER_WORD, r->extent->rows - word * PER_WORD);
}

/* Which nibble of a word a row has. */
static uint32_t number_of(const bank_extent *e, uint32_t row)
{
	return e->nibble_order >> (4 * row) & 7;
}

/* A run of columns of the rows that share a word; `in` is its first word. */
static void pick_bytes(const reader *r, const piece *p, const uint32_t *in, uint64_t word,
                       uint64_t col, uint64_t cols)
{
	const bank_extent *e = r->extent;

	for (uint32_t row = 0; row < rows_of(r, word); row++) {
		uint8_t *out = r->out + (word * PER_WORD + row) * e->cols + col;
		uint32_t shift = 4 * number_of(e, row);

		for (uint64_t i = 0; i < cols; i++)
			out[i] = (in[i * p->col_stride] + e->nibble_addend) >> shift & 15;
	}
}

/* The same where two columns make a byte. What two words have in a nibble of the same number is a byte of what their even
 * nibbles make, or of what their odd ones make. */
static void pick_pairs(const reader *r, const piece *p, const uint32_t *in, uint64_t word,
                       uint64_t col, uint64_t cols)
{
	const bank_extent *e = r->extent;
	uint8_t made[PER_WORD][RUN / 2]; /* by the nibble's number */

	for (uint64_t i = 0; i < cols / 2; i++) {
		uint32_t first = in[2 * i * p->col_stride] + e->nibble_addend;
		uint32_t second = in[(2 * i + 1) * p->col_stride] + e->nibble_addend;
		uint32_t even = (first & 0x0f0f0f0fu) | (second & 0x0f0f0f0fu) << 4;
		uint32_t odd = (first >> 4 & 0x0f0f0f0fu) | (second & 0xf0f0f0f0u);

		for (uint32_t n = 0; n < PER_WORD; n += 2) {
			made[n][i] = (uint8_t)(even >> (4 * n));
			made[n + 1][i] = (uint8_t)(odd >> (4 * n));
		}
	}
	for (uint32_t row = 0; row < rows_of(r, word); row++)
		memcpy(r->out + ((word * PER_WORD + row) * e->cols + col) / 2, made[number_of(e, row)],
		       cols / 2);
}

static void pick(const reader *r, const piece *p)
{
	for (uint64_t i = 0; i < p->cols; i += RUN) {
		uint64_t cols = min_u64(RUN, p->cols - i);

		for (uint64_t w = 0; w < p->words; w++) {
			const uint32_t *in = r->band + w * p->word_stride + i * p->col_stride;

			if (r->extent->nibbles_apart)
				pick_bytes(r, p, in, p->word + w, p->col + i, cols);
			else
				pick_pairs(r, p, in, p->word + w, p->col + i, cols);
		}
	}
}

static void pick_lines(const reader *r, uint64_t first, uint64_t count)
{
	piece p = {.words = r->row_words, .cols = r->extent->cols};

	if (r->by_cols) {
		p.col = first;
		p.cols = count;
	} else {
		p.word = first;
		p.words = count;
	}
	p.word_stride = r->by_cols ? 1 : r->length;
	p.col_stride = r->by_cols ? r->length : 1;
	pick(r, &p);
}

/* Bands begin at even lines. */
static ufm_status read_bands(const reader *r, uint64_t most, strided_source source, void *ctx)
{
	for (uint64_t first = 0; first < r->lines; first += most) {
		uint64_t count = min_u64(most, r->lines - first), bytes = r->length * WORD_BYTES;
		ufm_status status = source(ctx, first * bytes, count * bytes, r->band);

		if (status)
			return status;
		pick_lines(r, first, count);
	}
	return UFM_OK;
}

ufm_status nibbles_read(const bank_extent *extent, strided_source source, void *ctx, void *out)
{
	reader r = {
		.extent = extent, .row_words = (extent->rows + PER_WORD - 1) / PER_WORD, .out = out};
	uint64_t most, band_bytes;
	ufm_status status;

	r.by_cols = extent->row_stride == 1;
	r.lines = r.by_cols ? extent->cols : r.row_words;
	r.length = r.by_cols ? r.row_words : extent->cols;
	assert(extent->kind == EXTENT_NIBBLES && (extent->nibbles_apart || extent->cols % 2 == 0));
	assert(r.by_cols ? extent->col_stride == r.length
	                 : extent->col_stride == 1 && extent->row_stride == r.length);
	most = BAND_BYTES / (r.length * WORD_BYTES) / 2 * 2;
	most = min_u64(most ? most : 2, r.lines);
	band_bytes = most * r.length * WORD_BYTES;
	r.band = alloc_pages(band_bytes);
	if (!r.band)
		return UFM_ENOMEM;
	alloc_pages_keep_from_fork(r.band, band_bytes, true);
	status = read_bands(&r, most, source, ctx);
	alloc_pages_free(r.band, band_bytes);
	return status;
}
