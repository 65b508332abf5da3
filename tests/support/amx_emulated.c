/* SPDX-License-Identifier: MIT */
/*
 * What Intel's manual says of ldtilecfg, tileloadd, tilestored, tilezero and tdpbf16ps. Misuse that the
 * processor would punish is an assert: an unconfigured tile, shapes that do not match.
 */
#include "support/amx_emulated.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels_int.h"

#define ROWS_MAX 16
#define ROW_BYTES_MAX 64

typedef struct emulated_tile {
	uint32_t rows, row_bytes;
	unsigned char data[ROWS_MAX][ROW_BYTES_MAX];
} emulated_tile;

static emulated_tile registers[8];

/* Palette 1: byte 0 the palette, words from byte 16 on the row's bytes, bytes from 48 on the rows. */
static void configure(const void *shapes)
{
	const unsigned char *bytes = shapes;

	assert(bytes[0] == 1);
	for (int i = 1; i < 16; i++)
		assert(bytes[i] == 0);
	memset(registers, 0, sizeof registers);
	for (int i = 0; i < 8; i++) {
		uint16_t row_bytes;
		memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof row_bytes);
		assert(row_bytes % 4 == 0 && row_bytes <= ROW_BYTES_MAX && bytes[48 + i] <= ROWS_MAX);
		registers[i].row_bytes = row_bytes;
		registers[i].rows = bytes[48 + i];
	}
}

static void release(void)
{
	memset(registers, 0, sizeof registers);
}

static emulated_tile *configured(int n)
{
	assert(registers[n].rows && registers[n].row_bytes);
	return &registers[n];
}

static void zero(int n)
{
	memset(configured(n)->data, 0, sizeof registers[n].data);
}

static void load(int n, const void *at, size_t stride)
{
	emulated_tile *tile = configured(n);

	memset(tile->data, 0, sizeof tile->data);
	for (uint32_t r = 0; r < tile->rows; r++)
		memcpy(tile->data[r], (const unsigned char *)at + r * stride, tile->row_bytes);
}

static void store(int n, void *at, size_t stride)
{
	const emulated_tile *tile = configured(n);

	for (uint32_t r = 0; r < tile->rows; r++)
		memcpy((unsigned char *)at + r * stride, tile->data[r], tile->row_bytes);
}

/* Subnormals count as zeros, before and after. */
static float flushed(float x)
{
	return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

static float half(const emulated_tile *tile, uint32_t row, uint32_t element)
{
	uint16_t bits;
	float value;

	memcpy(&bits, tile->data[row] + (size_t)element * 2, sizeof bits);
	uint32_t wide = (uint32_t)bits << 16;
	memcpy(&value, &wide, sizeof value);
	return flushed(value);
}

/* One element: the even and the odd products are summed apart, and the two sums added to it. */
static void dot_element(emulated_tile *c, const emulated_tile *a, const emulated_tile *b,
                        uint32_t m, uint32_t n)
{
	float sums[2] = {0.0f, 0.0f}, element;

	for (uint32_t k = 0; k < a->row_bytes / 4; k++) {
		for (uint32_t i = 0; i < 2; i++)
			sums[i] = flushed(fmaf(half(a, m, 2 * k + i), half(b, k, 2 * n + i), sums[i]));
	}
	memcpy(&element, c->data[m] + (size_t)n * 4, sizeof element);
	element = flushed(flushed(element) + flushed(sums[0] + sums[1]));
	memcpy(c->data[m] + (size_t)n * 4, &element, sizeof element);
}

static void dot(int sum, int weights, int inputs)
{
	emulated_tile *c = configured(sum), *a = configured(weights), *b = configured(inputs);

	assert(c->rows == a->rows && c->row_bytes == b->row_bytes && a->row_bytes / 4 == b->rows);
	for (uint32_t m = 0; m < c->rows; m++) {
		for (uint32_t n = 0; n < c->row_bytes / 4; n++)
			dot_element(c, a, b, m, n);
	}
}

#define TILES_CONFIGURE(shapes) configure(shapes)
#define TILES_RELEASE() release()
#define TILE_ZERO(n) zero(n)
#define TILE_LOAD(n, at, stride) load(n, at, stride)
#define TILE_STORE(n, at, stride) store(n, at, stride)
#define TILE_DOT(sum, weights, inputs) dot(sum, weights, inputs)

#include "kernels/scalar_impl.h"

#include "kernels/amx_impl.h"

#include "kernels/table_impl.h"

const kernel_table *amx_emulated(void)
{
	static const kernel_table table = TABLE("amx-emulated");

	return &table;
}
