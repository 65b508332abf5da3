/* SPDX-License-Identifier: MIT */
/* Weights in storage formats made from a seed: random bits, and scales by which the elements have a variance of 1/fan_in.
 * Sums and products are never one expression, so that no compiler makes one operation of them: the bytes are the same
 * everywhere. */
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"
#include "format/format.h"
#include "store/synthetic_int.h"

/* Mean squares of what all bits alike make of a code. */
#define SQUARE_INT8 5461.5                     /* -128 … 127 */
#define SQUARE_6_BITS_SIGNED 341.5             /* -32 … 31 */
#define SQUARE_6_BITS 1333.5                   /* 0 … 63, of mean 31.5 */
#define SQUARE_5_BITS 325.5                    /* 0 … 31, of mean 15.5 */
#define SQUARE_5_BITS_SIGNED 85.5              /* -16 … 15 */
#define SQUARE_4_BITS 77.5                     /* 0 … 15, of mean 7.5 */
#define SQUARE_4_BITS_SIGNED 21.5              /* -8 … 7 */
#define SQUARE_4_BITS_TWO 42.5                 /* of the difference of two */
#define SQUARE_IQ4 4548.0                      /* format_iq4_values */
#define SQUARE_E2M1 8.5625                     /* the sizes 0 … 6 */
#define SQUARE_VARIED (1.0 + 1.0 / 48.0)       /* varied() */
#define TWICE_MEAN_SQUARED (2.0 * 31.5 * 31.5) /* of 6 bits */

/* A block's scale, a half, is its first bytes or stands at d_at. */
typedef struct block_recipe {
	double square; /* mean square of the elements where that is 1 */
	double
		minimum; /* the scale of minima is so many times it, which makes the mean 0; 0: there is none */
	uint32_t d_at;
} block_recipe;

/* Scale times value less minimum, all independent, where the mean of the value is taken for the scale of minima. */
#define SQUARE_K(value_square, value_mean) \
	(SQUARE_6_BITS * (value_square) + \
	 (value_mean) * (value_mean) * (SQUARE_6_BITS - TWICE_MEAN_SQUARED))

static block_recipe recipe_of(ufm_format format)
{
	switch ((int)format) {
	case UFM_FORMAT_Q8_0:
		return (block_recipe){.square = SQUARE_INT8};
	case UFM_FORMAT_Q4_0:
		return (block_recipe){.square = SQUARE_4_BITS_SIGNED};
	case UFM_FORMAT_Q5_0:
		return (block_recipe){.square = SQUARE_5_BITS_SIGNED};
	case UFM_FORMAT_Q4_K:
		return (block_recipe){.square = SQUARE_K(SQUARE_4_BITS, 7.5), .minimum = 7.5};
	case UFM_FORMAT_Q5_K:
		return (block_recipe){.square = SQUARE_K(SQUARE_5_BITS, 15.5), .minimum = 15.5};
	case UFM_FORMAT_Q6_K:
		return (block_recipe){.square = SQUARE_INT8 * SQUARE_6_BITS_SIGNED, .d_at = 208};
	case UFM_FORMAT_IQ4_NL:
		return (block_recipe){.square = SQUARE_IQ4};
	case UFM_FORMAT_IQ4_XS:
		return (block_recipe){.square = SQUARE_6_BITS_SIGNED * SQUARE_IQ4};
	case UFM_FORMAT_MXFP4:
		return (block_recipe){.square = SQUARE_E2M1};
	default:
		break;
	}
	assert(false && "a format whose blocks carry their scales");
	return (block_recipe){.square = 1.0};
}

/* 0.75 … 1.25, so that no two scales need be the same. */
static double varied(rng *r)
{
	return (768 + rng_below(r, 513)) * 0x1p-10;
}

/* What scales have on average, before they are varied, over elements of a mean square. */
static double scale_of(double square, uint32_t fan_in)
{
	return 1.0 / sqrt(square * fan_in * SQUARE_VARIED);
}

/* Whether of two neighbours the upper one is taken for a number between them: so often that its square is the mean. */
static bool takes_upper(rng *r, double lower, double number, double upper)
{
	double below = (number - lower) * (number + lower), all = (upper - lower) * (upper + lower);

	return rng_unit(r) * all < below;
}

static uint8_t e8m0_near(rng *r, double number)
{
	int exponent;
	double part = frexp(number, &exponent); /* 0.5 … 1 */

	return (uint8_t)(exponent + 126 + takes_upper(r, 0.5, part, 1.0));
}

static uint8_t e4m3_near(rng *r, double number)
{
	uint8_t lower = 0, upper = 0x7e; /* in the order of what they are worth */

	while (upper - lower > 1) {
		uint8_t middle = (uint8_t)((lower + upper) / 2);
		if ((double)format_from_e4m3(middle) <= number)
			lower = middle;
		else
			upper = middle;
	}
	return takes_upper(r, (double)format_from_e4m3(lower), number, (double)format_from_e4m3(upper))
	           ? upper
	           : lower;
}

static void fill_bits(rng *r, uint8_t *out, uint64_t size_bytes)
{
	for (uint64_t at = 0; at < size_bytes; at += sizeof(uint64_t)) {
		uint64_t left = size_bytes - at;
		uint8_t bytes[sizeof(uint64_t)];
		uint64_t word = rng_u64(r);

		for (int i = 0; i < 8; i++) /* whatever the machine's order of bytes */
			bytes[i] = (uint8_t)(word >> (8 * i));
		memcpy(out + at, bytes, left < sizeof bytes ? left : sizeof bytes);
	}
}

static void put_half(uint8_t *at, double value)
{
	uint16_t bits = f16_from_f32((float)value);

	memcpy(at, &bits, sizeof bits);
}

static void fill_blocks(rng *r, const ufm_part *part, uint8_t *out)
{
	const format_info *info = format_find(part->format);
	const block_recipe recipe = recipe_of(info->format);
	double scale = scale_of(recipe.square, part->cols);
	uint64_t size_bytes = format_part_bytes(part);

	fill_bits(r, out, size_bytes);
	for (uint8_t *block = out; block < out + size_bytes; block += info->bytes) {
		double d = scale * varied(r);
		if (info->format == UFM_FORMAT_MXFP4)
			*block = e8m0_near(r, d);
		else
			put_half(block + recipe.d_at, d);
		if (recipe.minimum > 0.0)
			put_half(block + 2, d * recipe.minimum);
	}
}

/* Bits that are a NaN become the largest number. */
static uint8_t e4m3_number(uint8_t bits)
{
	return (bits & 0x7f) == 0x7f ? (uint8_t)(bits - 1) : bits;
}

static void fill_values(rng *r, const ufm_part *part, uint8_t *out)
{
	uint64_t size_bytes = format_part_bytes(part);

	fill_bits(r, out, size_bytes);
	for (uint64_t i = 0; part->format == UFM_FORMAT_E4M3 && i < size_bytes; i++)
		out[i] = e4m3_number(out[i]);
}

static double square_of_e4m3(void)
{
	double sum = 0.0;

	for (int bits = 0; bits < 256; bits++) {
		double value = (double)format_from_e4m3(e4m3_number((uint8_t)bits));
		sum += value * value; /* exact */
	}
	return sum / 256;
}

static double square_of_values(uint32_t format, bool zeros)
{
	if (format == UFM_FORMAT_E4M3)
		return square_of_e4m3();
	if (format == UFM_FORMAT_E2M1)
		return SQUARE_E2M1;
	return zeros ? SQUARE_4_BITS_TWO : SQUARE_4_BITS_SIGNED;
}

static void put_scale(rng *r, const ufm_part *part, uint64_t i, double value, uint8_t *out)
{
	float rounded = (float)value;
	uint16_t bits = part->dtype == UFM_F16 ? f16_from_f32(rounded) : bf16_from_f32(rounded);

	if (part->format == UFM_FORMAT_E8M0)
		out[i] = e8m0_near(r, value);
	else if (part->format == UFM_FORMAT_E4M3)
		out[i] = e4m3_near(r, value);
	else if (part->dtype == UFM_F32)
		memcpy(out + i * sizeof rounded, &rounded, sizeof rounded);
	else
		memcpy(out + i * sizeof bits, &bits, sizeof bits);
}

/* A matrix that parts beside it scale, numbered as it is. */
typedef struct scaled {
	const ufm_part *matrix, *zeros, *factor;
	double scale; /* that its elements need */
} scaled;

static scaled scaled_of(const ufm_expert_desc *desc, ufm_role beside)
{
	int number = ((int)beside - UFM_ROLE_UP_SCALE) % 3;
	scaled s = {.matrix = ufm_expert_part(desc, (ufm_role)(UFM_ROLE_UP + 2 * number)),
	            .zeros = ufm_expert_part(desc, (ufm_role)(UFM_ROLE_UP_ZERO + number)),
	            .factor = ufm_expert_part(desc, (ufm_role)(UFM_ROLE_UP_FACTOR + number))};

	s.scale = scale_of(square_of_values(s.matrix->format, s.zeros != NULL), s.matrix->cols);
	return s;
}

/* Scales are about 1 where a factor has the rest. */
static void fill_beside(rng *r, const ufm_expert_desc *desc, const ufm_part *part, uint8_t *out)
{
	scaled s = scaled_of(desc, part->role);
	uint64_t count = (uint64_t)part->rows * part->cols;
	float factor = (float)s.scale;

	if (part == s.factor) {
		memcpy(out, &factor, sizeof factor);
		return;
	}
	if (part == s.zeros) {
		fill_bits(r, out, count);
		for (uint64_t i = 0; i < count; i++)
			out[i] &= 15;
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		double value = count > 1 ? varied(r) : 1.0; /* one alone has no others to make up for it */
		put_scale(r, part, i, s.factor ? value : value * s.scale, out);
	}
}

void synthetic_fill_coded(const ufm_expert_desc *desc, const ufm_part *part, uint64_t key,
                          uint8_t *out)
{
	rng r;

	rng_seed(&r, key);
	if (part->role >= UFM_ROLE_UP_SCALE)
		fill_beside(&r, desc, part, out);
	else if (format_is_scaled(part))
		fill_values(&r, part, out);
	else
		fill_blocks(&r, part, out);
}
