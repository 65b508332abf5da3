/* SPDX-License-Identifier: MIT */
/* Steps of the expansion of stored weights with AVX2 and F16C; included by expand_impl.h. A code of four bits picks
 * one of sixteen bytes by one shuffle. */
#ifndef UFM_KERNELS_EXPAND_AVX2_IMPL_H
#define UFM_KERNELS_EXPAND_AVX2_IMPL_H

#include <string.h>

static inline void v_store(float *to, vec value)
{
	_mm256_storeu_ps(to, value);
}

static inline bool v_all_less(vec a, vec b)
{
	return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)) == 0xff;
}

/* ------------------------------------------------------------------ halves and bytes */

static inline vec v_half(const uint8_t *at)
{
	int16_t bits;

	memcpy(&bits, at, sizeof bits);
	return _mm256_cvtph_ps(_mm_set1_epi16(bits));
}

static inline float half_at(const uint8_t *at)
{
	return _mm256_cvtss_f32(v_half(at));
}

static inline vec v_load_f16(const uint16_t *from)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

static inline vec v_load_f16_part(const uint16_t *from, uint32_t count)
{
	uint16_t padded[LANES] = {0};

	memcpy(padded, from, (count < LANES ? count : LANES) * sizeof padded[0]);
	return v_load_f16(padded);
}

/* The lower eight bytes. */
static inline vec v_signed(__m128i bytes)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* Sixteen signed bytes times a scale. */
static inline void store_scaled(float *to, __m128i bytes, vec scale)
{
	v_store(to, _mm256_mul_ps(scale, v_signed(bytes)));
	v_store(to + LANES, _mm256_mul_ps(scale, v_signed(_mm_srli_si128(bytes, LANES))));
}

static inline void store_affine(float *to, __m128i bytes, vec scale, vec minus)
{
	v_store(to, _mm256_sub_ps(_mm256_mul_ps(scale, v_signed(bytes)), minus));
	v_store(to + LANES,
	        _mm256_sub_ps(_mm256_mul_ps(scale, v_signed(_mm_srli_si128(bytes, LANES))), minus));
}

/* ------------------------------------------------------------------ sixteen values */

typedef __m128i shelf; /* of a format */
typedef struct book {  /* of a scale */
	shelf values;
	vec scale, minus; /* minus 0 changes no bit */
} book;

static inline shelf shelf_of(const int8_t values[16])
{
	return _mm_loadu_si128((const __m128i *)(const void *)values);
}

static inline book book_scaled(shelf values, vec scale)
{
	return (book){values, scale, _mm256_setzero_ps()};
}

static inline book book_affine(shelf values, vec scale, vec minus)
{
	return (book){values, scale, minus};
}

/* What the low and the high halves of sixteen bytes stand for. */
static inline void store_nibbles(float *low_to, float *high_to, __m128i bytes, book low, book high)
{
	const __m128i half = _mm_set1_epi8(15);
	__m128i low_at = _mm_and_si128(bytes, half);
	__m128i high_at = _mm_and_si128(_mm_srli_epi16(bytes, 4), half);

	store_affine(low_to, _mm_shuffle_epi8(low.values, low_at), low.scale, low.minus);
	store_affine(high_to, _mm_shuffle_epi8(high.values, high_at), high.scale, high.minus);
}

/* The lanes of LANES / 2 bytes, the low half of a byte first; what is above four bits is not cleared. */
static inline __m256i pairs_at(const uint8_t *from)
{
	int32_t bytes;

	memcpy(&bytes, from, sizeof bytes);
	return _mm256_srlv_epi32(_mm256_set1_epi32(bytes),
	                         _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
}

static inline vec v_u4(const uint8_t *from, vec zero, vec scale)
{
	__m256i value = _mm256_and_si256(pairs_at(from), _mm256_set1_epi32(15));

	return _mm256_mul_ps(_mm256_sub_ps(_mm256_cvtepi32_ps(value), zero), scale);
}

/* Eight sizes, and a sign. */
static inline vec v_e2m1(const uint8_t *from, vec scale)
{
	const vec sizes = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
	__m256i at = pairs_at(from);
	vec sign = _mm256_and_ps(_mm256_castsi256_ps(_mm256_slli_epi32(at, 28)), _mm256_set1_ps(-0.0f));

	return _mm256_mul_ps(_mm256_or_ps(_mm256_permutevar8x32_ps(sizes, at), sign), scale);
}

/* ------------------------------------------------------------------ eight bits */

/* 2^-8 times what 2 * LANES bytes stand for: as halves they need no care for what is subnormal. */
static inline void v_e4m3_pair(const uint8_t *from, vec out[2])
{
	__m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
	__m256i nan =
		_mm256_cmpeq_epi16(_mm256_or_si256(wide, _mm256_set1_epi16(-128)), _mm256_set1_epi16(-1));
	__m256i halves = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(-129)), 7);

	halves = _mm256_or_si256(halves, nan);
	out[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
	out[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
}

static inline __m128i bytes_part(const uint8_t *from, uint32_t count)
{
	uint8_t padded[2 * LANES] = {0};

	for (uint32_t i = 0; i < count; i++)
		padded[i] = from[i];
	return _mm_loadu_si128((const __m128i *)(const void *)padded);
}

static inline vec v_e4m3_part(const uint8_t *from, uint32_t count)
{
	uint8_t padded[2 * LANES];
	vec pair[2];

	_mm_storeu_si128((__m128i *)(void *)padded, bytes_part(from, count));
	v_e4m3_pair(padded, pair);
	return pair[0];
}

/* Each byte the exponent of a power of two. */
static inline vec v_e8m0_part(const uint8_t *from, uint32_t count)
{
	__m256i wide = _mm256_cvtepu8_epi32(bytes_part(from, count));
	__m256i none = _mm256_cmpeq_epi32(wide, _mm256_setzero_si256());
	__m256i nan = _mm256_cmpeq_epi32(wide, _mm256_set1_epi32(255));
	__m256i more = _mm256_and_si256(_mm256_or_si256(none, nan), _mm256_set1_epi32(0x00400000));

	return _mm256_castsi256_ps(_mm256_or_si256(_mm256_slli_epi32(wide, 23), more));
}

static inline vec v_u8_part(const uint8_t *from, uint32_t count)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes_part(from, count)));
}

#endif
