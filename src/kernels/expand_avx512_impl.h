/* SPDX-License-Identifier: MIT */
/* Steps of the expansion of stored weights with AVX-512; included by expand_impl.h. A code of four bits picks one of
 * sixteen values by one permutation, whose index is the low bits of a lane: what lies above them does not matter. */
#ifndef UFM_KERNELS_EXPAND_AVX512_IMPL_H
#define UFM_KERNELS_EXPAND_AVX512_IMPL_H

#include <string.h>

static inline void v_store(float *to, vec value)
{
	_mm512_storeu_ps(to, value);
}

static inline bool v_all_less(vec a, vec b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) == 0xffff;
}

/* ------------------------------------------------------------------ halves and bytes */

static inline vec v_half(const uint8_t *at)
{
	int16_t bits;

	memcpy(&bits, at, sizeof bits);
	return _mm512_cvtph_ps(_mm256_set1_epi16(bits));
}

static inline float half_at(const uint8_t *at)
{
	return _mm512_cvtss_f32(v_half(at));
}

static inline vec v_load_f16(const uint16_t *from)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

static inline vec v_load_f16_part(const uint16_t *from, uint32_t count)
{
	return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), from));
}

static inline vec v_signed(__m128i bytes)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* Sixteen signed bytes times a scale. */
static inline void store_scaled(float *to, __m128i bytes, vec scale)
{
	v_store(to, _mm512_mul_ps(scale, v_signed(bytes)));
}

static inline void store_affine(float *to, __m128i bytes, vec scale, vec minus)
{
	v_store(to, _mm512_sub_ps(_mm512_mul_ps(scale, v_signed(bytes)), minus));
}

/* ------------------------------------------------------------------ sixteen values */

typedef vec shelf; /* of a format */
typedef vec book;  /* of a scale */

static inline shelf shelf_of(const int8_t values[16])
{
	return v_signed(_mm_loadu_si128((const __m128i *)(const void *)values));
}

static inline book book_scaled(shelf values, vec scale)
{
	return _mm512_mul_ps(scale, values);
}

static inline book book_affine(shelf values, vec scale, vec minus)
{
	return _mm512_sub_ps(_mm512_mul_ps(scale, values), minus);
}

/* What the low and the high halves of sixteen bytes stand for. */
static inline void store_nibbles(float *low_to, float *high_to, __m128i bytes, book low, book high)
{
	__m512i at = _mm512_cvtepu8_epi32(bytes);

	v_store(low_to, _mm512_permutexvar_ps(at, low));
	v_store(high_to, _mm512_permutexvar_ps(_mm512_srli_epi32(at, 4), high));
}

/* The lanes of LANES / 2 bytes, the low half of a byte first. */
static inline __m512i pairs_at(const uint8_t *from)
{
	const __m512i of_lane = _mm512_set_epi32(-249, -249, -250, -250, -251, -251, -252, -252, -253,
	                                         -253, -254, -254, -255, -255, -256, -256);
	const __m512i shift = _mm512_set_epi32(4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0);
	int64_t bytes;

	memcpy(&bytes, from, sizeof bytes);
	return _mm512_srlv_epi32(_mm512_shuffle_epi8(_mm512_set1_epi64(bytes), of_lane), shift);
}

static inline vec v_u4(const uint8_t *from, vec zero, vec scale)
{
	const vec values = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);

	return _mm512_permutexvar_ps(pairs_at(from), _mm512_mul_ps(_mm512_sub_ps(values, zero), scale));
}

static inline vec v_e2m1(const uint8_t *from, vec scale)
{
	const vec values = _mm512_set_ps(-6.0f, -4.0f, -3.0f, -2.0f, -1.5f, -1.0f, -0.5f, -0.0f, 6.0f,
	                                 4.0f, 3.0f, 2.0f, 1.5f, 1.0f, 0.5f, 0.0f);

	return _mm512_permutexvar_ps(pairs_at(from), _mm512_mul_ps(values, scale));
}

/* ------------------------------------------------------------------ eight bits */

/* 2^-8 times what 2 * LANES bytes stand for: as halves they need no care for what is subnormal. */
static inline void e4m3_of(__m256i bytes, vec out[2])
{
	__mmask32 number = _mm256_cmpneq_epi8_mask(_mm256_or_si256(bytes, _mm256_set1_epi8(-128)),
	                                           _mm256_set1_epi8(-1));
	__m512i wide = _mm512_and_si512(_mm512_cvtepi8_epi16(bytes), _mm512_set1_epi16(-129));
	__m512i halves = _mm512_mask_slli_epi16(_mm512_set1_epi16(0x7e00), number, wide, 7);

	out[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
	out[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
}

static inline void v_e4m3_pair(const uint8_t *from, vec out[2])
{
	e4m3_of(_mm256_loadu_si256((const __m256i *)(const void *)from), out);
}

static inline vec v_e4m3_part(const uint8_t *from, uint32_t count)
{
	vec pair[2];

	e4m3_of(_mm256_maskz_loadu_epi8(first_lanes(count), from), pair);
	return pair[0];
}

static inline __m512i bytes_part(const uint8_t *from, uint32_t count)
{
	return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(count), from));
}

/* Each byte the exponent of a power of two. */
static inline vec v_e8m0_part(const uint8_t *from, uint32_t count)
{
	__m512i wide = bytes_part(from, count), bits = _mm512_slli_epi32(wide, 23);

	bits = _mm512_mask_mov_epi32(bits, _mm512_testn_epi32_mask(wide, wide),
	                             _mm512_set1_epi32(0x00400000));
	bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(wide, _mm512_set1_epi32(255)),
	                             _mm512_set1_epi32(0x7fc00000));
	return _mm512_castsi512_ps(bits);
}

static inline vec v_u8_part(const uint8_t *from, uint32_t count)
{
	return _mm512_cvtepi32_ps(bytes_part(from, count));
}

#endif
