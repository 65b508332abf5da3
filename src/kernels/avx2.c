/* SPDX-License-Identifier: MIT */
/* The table for x86 with AVX2, FMA and F16C. Built with -mavx2 -mfma -mf16c; without them it is absent. */
#include "kernels/kernels_int.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>
#include <string.h>

#define LANES 8
/* 12 sums, 3 weights and 1 input: the 16 registers. */
#define TILE_ROWS 3
#define TILE_TOKENS 4
#define TILE_MAX 12

typedef __m256 vec;

static inline vec v_set(float value)
{
	return _mm256_set1_ps(value);
}

static inline vec v_load(const float *from)
{
	return _mm256_loadu_ps(from);
}

/* All ones in the first `count` lanes. */
static inline __m256i first_lanes(uint32_t count)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

static inline vec v_load_part(const float *from, uint32_t count)
{
	return _mm256_maskload_ps(from, first_lanes(count));
}

static inline vec widen(__m128i bf16)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bf16), 16));
}

static inline vec v_load_bf16(const uint16_t *from)
{
	return widen(_mm_loadu_si128((const __m128i *)from));
}

static inline vec v_load_bf16_part(const uint16_t *from, uint32_t count)
{
	uint16_t padded[LANES] = {0};

	memcpy(padded, from, (count < LANES ? count : LANES) * sizeof padded[0]);
	return v_load_bf16(padded);
}

static inline void v_store_part(float *to, vec value, uint32_t count)
{
	_mm256_maskstore_ps(to, first_lanes(count), value);
}

static inline vec v_fma(vec a, vec b, vec c)
{
	return _mm256_fmadd_ps(a, b, c);
}

/* What rounding took from a * b when it gave the product. */
static inline vec v_rest(vec a, vec b, vec product)
{
	return _mm256_fmsub_ps(a, b, product);
}

static inline vec v_abs(vec x)
{
	return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

static inline vec v_min(vec a, vec b)
{
	return _mm256_min_ps(a, b);
}

static inline vec v_select_less(vec a, vec b, vec yes, vec no)
{
	return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

static inline vec v_round(vec x)
{
	return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec v_pow2(vec n)
{
	__m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));

	return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}

static inline vec v_head(vec x)
{
	return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(-4096)));
}

static inline void v_sums4(vec a, vec b, vec c, vec d, float *sums)
{
	__m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
	__m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
	__m256 abcd = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
	                            _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));

	_mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
}

#include "kernels/table_impl.h"

const kernel_table *kernels_avx2(void)
{
	static const kernel_table table = TABLE("avx2");

	return &table;
}

#else

const kernel_table *kernels_avx2(void)
{
	return NULL;
}

#endif
