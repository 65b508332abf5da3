/* SPDX-License-Identifier: MIT */
/* Vectors of one element, for any CPU; included before table_impl.h. */
#ifndef UFM_KERNELS_SCALAR_IMPL_H
#define UFM_KERNELS_SCALAR_IMPL_H

#include <stdint.h>
#include <string.h>

#include "base/bf16.h"

#define LANES 1
#define TILE_ROWS 4
#define TILE_TOKENS 4
#define TILE_MAX 16

typedef float vec;

static inline vec v_set(float value)
{
	return value;
}

static inline vec v_load(const float *from)
{
	return *from;
}

static inline vec v_load_part(const float *from, uint32_t count)
{
	return count ? *from : 0.0f;
}

static inline vec v_load_bf16(const uint16_t *from)
{
	return bf16_to_f32(*from);
}

static inline vec v_load_bf16_part(const uint16_t *from, uint32_t count)
{
	return count ? bf16_to_f32(*from) : 0.0f;
}

static inline void v_store_part(float *to, vec value, uint32_t count)
{
	if (count)
		*to = value;
}

static inline vec v_fma(vec a, vec b, vec c)
{
#if defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA)
	return __builtin_fmaf(a, b, c);
#else
	return a * b + c;
#endif
}

/* What rounding took from a * b when it gave the product. */
static inline vec v_rest(vec a, vec b, vec product)
{
	return (float)((double)a * (double)b - (double)product);
}

static inline vec v_abs(vec x)
{
	return __builtin_fabsf(x);
}

static inline vec v_min(vec a, vec b)
{
	return a < b ? a : b;
}

static inline vec v_select_less(vec a, vec b, vec yes, vec no)
{
	return a < b ? yes : no;
}

/* Adding 1.5 * 2^23 leaves no room for a fraction. */
static inline vec v_round(vec x)
{
	return (x + 12582912.0f) - 12582912.0f;
}

/* The same sum has n in its low bits, for a NaN something harmless. */
static inline vec v_pow2(vec n)
{
	float sum = n + 12582912.0f, power;
	uint32_t bits;

	memcpy(&bits, &sum, sizeof bits);
	bits = (bits - 0x4b400000u + 127u) << 23;
	memcpy(&power, &bits, sizeof power);
	return power;
}

static inline vec v_head(vec x)
{
	uint32_t bits;
	float head;

	memcpy(&bits, &x, sizeof bits);
	bits &= 0xfffff000u;
	memcpy(&head, &bits, sizeof head);
	return head;
}

static inline void v_sums4(vec a, vec b, vec c, vec d, float *sums)
{
	sums[0] = a;
	sums[1] = b;
	sums[2] = c;
	sums[3] = d;
}

#endif
