/* SPDX-License-Identifier: MIT */
/* Vectors of AVX-512; included before table_impl.h by the tables that have it. */
#ifndef UFM_KERNELS_AVX512_IMPL_H
#define UFM_KERNELS_AVX512_IMPL_H

#include <immintrin.h>

#define LANES 16
/* 24 sums, up to 6 weights and 1 input of 32 registers: 6 rows of 4 tokens, 4 of 6. */
#define TILE_ROWS 6
#define TILE_TOKENS 6
#define TILE_MAX 24

typedef __m512 vec;

static inline vec v_set(float value)
{
	return _mm512_set1_ps(value);
}

static inline vec v_load(const float *from)
{
	return _mm512_loadu_ps(from);
}

/* Bits of the first `count` lanes. */
static inline __mmask16 first_lanes(uint32_t count)
{
	uint32_t bits = count < LANES ? (1u << count) - 1u : 0xffffu;

	return (__mmask16)bits;
}

static inline vec v_load_part(const float *from, uint32_t count)
{
	return _mm512_maskz_loadu_ps(first_lanes(count), from);
}

/* One shuffle puts each bf16 into the upper half of its lane, where widening and shifting are two
 * operations on the ports that multiply. */
static inline vec widen(__m256i bf16)
{
	const __m512i from =
		_mm512_set_epi32(0x000f0000, 0x000e0000, 0x000d0000, 0x000c0000, 0x000b0000, 0x000a0000,
	                     0x00090000, 0x00080000, 0x00070000, 0x00060000, 0x00050000, 0x00040000,
	                     0x00030000, 0x00020000, 0x00010000, 0x00000000);

	return _mm512_castsi512_ps(
		_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, from, _mm512_castsi256_si512(bf16)));
}

static inline vec v_load_bf16(const uint16_t *from)
{
	return widen(_mm256_loadu_si256((const __m256i *)from));
}

static inline vec v_load_bf16_part(const uint16_t *from, uint32_t count)
{
	return widen(_mm256_maskz_loadu_epi16(first_lanes(count), from));
}

static inline void v_store_part(float *to, vec value, uint32_t count)
{
	_mm512_mask_storeu_ps(to, first_lanes(count), value);
}

static inline vec v_fma(vec a, vec b, vec c)
{
	return _mm512_fmadd_ps(a, b, c);
}

/* What rounding took from a * b when it gave the product. */
static inline vec v_rest(vec a, vec b, vec product)
{
	return _mm512_fmsub_ps(a, b, product);
}

static inline vec v_abs(vec x)
{
	return _mm512_abs_ps(x);
}

static inline vec v_min(vec a, vec b)
{
	return _mm512_min_ps(a, b);
}

static inline vec v_select_less(vec a, vec b, vec yes, vec no)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}

static inline vec v_round(vec x)
{
	return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec v_pow2(vec n)
{
	__m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));

	return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

static inline vec v_head(vec x)
{
	return _mm512_and_ps(x, _mm512_castsi512_ps(_mm512_set1_epi32(-4096)));
}

static inline void v_sums4(vec a, vec b, vec c, vec d, float *sums)
{
	__m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	__m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
	__m512 abcd = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
	                            _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
	__m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));

	_mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

#endif
