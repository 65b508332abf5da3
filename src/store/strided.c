/* SPDX-License-Identifier: MIT */
/* Brings a matrix whose elements lie in a file at two strides into rows. A line is what lies along the
 * axis of the smaller stride; a band is as many lines, or as much of one, as the buffer holds. */
#include "store/strided_int.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "store/convert_int.h"

/* Elements further apart than this in a line are read one by one: a page would be read for each. */
#define APART_BYTES 4096u
/* Elements picked into a row at a time. Transposed, so many lines of the buffer are walked side by side,
 * and what they hold of a cache line stays in the cache until all of it is picked. */
#define RUN 32u

typedef struct axis {
	uint64_t count, stride; /* in the file */
	uint64_t most;          /* in a band */
} axis;

typedef struct reader {
	const bank_extent *extent;
	uint64_t element_bytes;
	convert_fn convert;
	bool transposed; /* the outer axis is that of columns */
	axis outer, inner;
	bool whole;     /* a band is read in one go, else line by line */
	uint64_t pitch; /* elements from one line to the next in the buffer */
	uint8_t *buffer, *out;
} reader;

/* A part of the matrix, counted along outer and inner axis. */
typedef struct band {
	uint64_t outer, outer_count, inner, inner_count;
} band;

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Elements from the first to the last of `count`, both included. */
static uint64_t span(uint64_t count, uint64_t stride)
{
	return (count - 1) * stride + 1;
}

static uint64_t inner_most(const axis *inner, uint64_t room, uint64_t element_bytes)
{
	if (inner->count == 1 || inner->stride * element_bytes > APART_BYTES)
		return 1;
	return min_u64(inner->count, (room - 1) / inner->stride + 1);
}

/* A band of `room` elements. An axis of one element is the outer one: the other's elements are then one
 * line, whatever its stride. */
static void plan_bands(reader *r, uint64_t room)
{
	const bank_extent *e = r->extent;
	axis rows = {.count = e->rows, .stride = e->row_stride};
	axis cols = {.count = e->cols, .stride = e->col_stride};
	uint64_t line;

	r->transposed = e->rows > 1 && (e->cols == 1 || e->col_stride > e->row_stride);
	r->outer = r->transposed ? cols : rows;
	r->inner = r->transposed ? rows : cols;
	r->inner.most = inner_most(&r->inner, room, r->element_bytes);
	line = span(r->inner.most, r->inner.stride);
	r->whole = r->outer.count == 1 || r->outer.stride - r->outer.stride / 2 <= line;
	r->pitch = r->whole ? r->outer.stride : line;
	r->outer.most = 1;
	if (r->outer.count > 1)
		r->outer.most = min_u64(r->outer.count, (room - line) / r->pitch + 1);
}

static ufm_status read_band(const reader *r, const band *b, strided_source source, void *ctx)
{
	uint64_t first = b->outer * r->outer.stride + b->inner * r->inner.stride;
	uint64_t line = span(b->inner_count, r->inner.stride), size = r->element_bytes;
	ufm_status status = UFM_OK;

	if (r->whole)
		return source(ctx, first * size, (span(b->outer_count, r->pitch) - 1 + line) * size,
		              r->buffer);
	for (uint64_t i = 0; i < b->outer_count && !status; i++)
		status = source(ctx, (first + i * r->outer.stride) * size, line * size,
		                r->buffer + i * r->pitch * size);
	return status;
}

static void gather_bytes(const uint8_t *in, uint64_t stride, uint64_t count, uint8_t *out)
{
	for (uint64_t i = 0; i < count; i++)
		out[i] = in[i * stride];
}

static void gather_f32(const uint8_t *in, uint64_t stride, uint64_t count, uint8_t *out)
{
	for (uint64_t i = 0; i < count; i++)
		memcpy(out + 4 * i, in + 4 * i * stride, 4);
}

static void gather_halves(const uint8_t *in, uint64_t stride, uint64_t count, uint8_t *out)
{
	for (uint64_t i = 0; i < count; i++)
		memcpy(out + 2 * i, in + 2 * i * stride, 2);
}

/* `count` elements of a row, at most RUN of them where they lie apart. */
static void pick_run(const reader *r, const uint8_t *in, uint64_t stride, uint64_t count,
                     uint8_t *out)
{
	uint8_t run[RUN * sizeof(float)];

	if (stride == 1) {
		r->convert(in, count, out);
		return;
	}
	if (r->element_bytes == sizeof(float))
		gather_f32(in, stride, count, run);
	else if (r->element_bytes == sizeof(uint16_t))
		gather_halves(in, stride, count, run);
	else
		gather_bytes(in, stride, count, run);
	r->convert(run, count, out);
}

static void pick_band(const reader *r, const band *b)
{
	uint64_t rows = r->transposed ? b->inner_count : b->outer_count;
	uint64_t cols = r->transposed ? b->outer_count : b->inner_count;
	uint64_t first_row = r->transposed ? b->inner : b->outer;
	uint64_t first_col = r->transposed ? b->outer : b->inner;
	uint64_t row_pitch = r->transposed ? r->inner.stride : r->pitch;
	uint64_t col_pitch = r->transposed ? r->pitch : r->inner.stride;
	uint64_t most = col_pitch == 1 ? cols : RUN, out_bytes = convert_element_bytes(r->extent->to);

	for (uint64_t col = 0; col < cols; col += most) {
		for (uint64_t row = 0; row < rows; row++) {
			uint64_t to = (first_row + row) * r->extent->cols + first_col + col;

			pick_run(r, r->buffer + (row * row_pitch + col * col_pitch) * r->element_bytes,
			         col_pitch, min_u64(cols - col, most), r->out + to * out_bytes);
		}
	}
}

ufm_status strided_read(const bank_extent *extent, strided_source source, void *ctx, void *buffer,
                        uint64_t buffer_bytes, void *out)
{
	reader r = {.extent = extent,
	            .element_bytes = convert_element_bytes(extent->from),
	            .convert = convert_find(extent->from, extent->to),
	            .buffer = buffer,
	            .out = out};
	band b = {.outer = 0};

	assert(extent->kind == EXTENT_STRIDED && buffer_bytes >= r.element_bytes);
	plan_bands(&r, buffer_bytes / r.element_bytes);
	for (b.outer = 0; b.outer < r.outer.count; b.outer += r.outer.most) {
		b.outer_count = min_u64(r.outer.count - b.outer, r.outer.most);
		for (b.inner = 0; b.inner < r.inner.count; b.inner += r.inner.most) {
			ufm_status status;

			b.inner_count = min_u64(r.inner.count - b.inner, r.inner.most);
			status = read_band(&r, &b, source, ctx);
			if (status)
				return status;
			pick_band(&r, &b);
		}
	}
	return UFM_OK;
}

uint64_t strided_span_bytes(const bank_extent *extent)
{
	uint64_t elements =
		span(extent->rows, extent->row_stride) - 1 + span(extent->cols, extent->col_stride);

	return elements * convert_element_bytes(extent->from);
}
