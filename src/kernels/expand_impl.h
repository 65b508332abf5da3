/* SPDX-License-Identifier: MIT */
/*
 * Weights in storage formats as f32; included by table_impl.h after tile_impl.h. What comes out has the bits of
 * format_expand, which is the definition and which tables without vectors call: every product and difference is
 * rounded as it is there, so none is fused.
 */
#ifndef UFM_KERNELS_EXPAND_IMPL_H
#define UFM_KERNELS_EXPAND_IMPL_H

#include "kernels/tile_impl.h"

/* Columns that are expanded at once, and floats from one row of them to the next: no multiple of what makes lines of
 * two rows collide. */
#define PIECE_MAX (2 * FORMAT_STRIP)
#define PIECE_STRIDE (PIECE_MAX + 16)

/* out[r * PIECE_STRIDE + i] = element (row + r, first + i) for r in 0 … rows-1 and i in 0 … count-1: `first` and
 * `count` as in format_expand, count at most PIECE_MAX. out is aligned to 64. */
typedef void (*expand_fn)(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first,
                          uint32_t count, float *out);

static void expand_by_definition(const format_matrix *m, uint32_t row, uint32_t rows,
                                 uint32_t first, uint32_t count, float *out)
{
	for (uint32_t r = 0; r < rows; r++)
		format_expand(m, row + r, first, count, out + (size_t)r * PIECE_STRIDE);
}

#if LANES > 1

#if LANES == 16
#include "kernels/expand_avx512_impl.h"
#else
#include "kernels/expand_avx2_impl.h"
#endif

static const int8_t plain_codes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static inline __m128i load_16(const uint8_t *at)
{
	return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static inline __m256i load_32(const uint8_t *at)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline uint32_t word_at(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof word);
	return word;
}

/* Thirty-two signed bytes times a scale for each sixteen of them. */
static inline void store_scaled_32(float *to, __m256i bytes, vec first, vec second)
{
	store_scaled(to, _mm256_castsi256_si128(bytes), first);
	store_scaled(to + 16, _mm256_extracti128_si256(bytes, 1), second);
}

/* ------------------------------------------------------------------ blocks that carry their scales */

static ALWAYS_INLINE void q8_0_block(const uint8_t *block, shelf values, float *out)
{
	vec d = v_half(block);

	(void)values;
	store_scaled_32(out, load_32(block + 2), d, d);
}

/* Q4_0 and IQ4_NL: a half, then sixteen bytes. */
static ALWAYS_INLINE void four_bit_block(const uint8_t *block, shelf values, float *out)
{
	book b = book_scaled(values, v_half(block));

	store_nibbles(out, out + 16, load_16(block + 2), b, b);
}

/* Half of 2^(exponent - 127), below which a float has powers of two without a leading one. */
static inline float half_of_e8m0(uint8_t exponent)
{
	uint32_t bits = (uint32_t)(exponent - 1) << 23;
	float value;

	if (__builtin_expect(exponent < 2, 0))
		bits = 0x00200000u << exponent;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static ALWAYS_INLINE void mxfp4_block(const uint8_t *block, shelf values, float *out)
{
	book b = book_scaled(values, v_set(half_of_e8m0(block[0])));

	store_nibbles(out, out + 16, load_16(block + 1), b, b);
}

/* All ones in the bytes whose bit, of 32, is set. */
static inline __m256i bytes_of_bits(uint32_t bits)
{
	const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
	                                      2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
	__m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)bits), byte);

	return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
}

/* The low halves of sixteen bytes, then the high ones; what lies above four bits is not cleared. */
static inline __m256i nibbles_apart(const uint8_t *at)
{
	__m128i bytes = load_16(at);

	return _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
}

/* Where the fifth bit is clear the code is below 16, and so the value below 0. */
static ALWAYS_INLINE void q5_0_block(const uint8_t *block, shelf values, float *out)
{
	vec d = v_half(block);
	__m256i fours = _mm256_and_si256(nibbles_apart(block + 6), _mm256_set1_epi8(15));
	__m256i below =
		_mm256_andnot_si256(bytes_of_bits(word_at(block + 2)), _mm256_set1_epi8((char)0xf0));

	(void)values;
	store_scaled_32(out, _mm256_or_si256(fours, below), d, d);
}

/* Of the eight runs of a block of Q4_K or Q5_K: the scales, then the minima. */
static inline void heads_of_k(const uint8_t *block, float heads[16])
{
	uint32_t a = word_at(block + 4), b = word_at(block + 8), c = word_at(block + 12);
	uint64_t scales = (c & 0x0f0f0f0fu) | (a >> 6 & 0x03030303u) << 4;
	uint64_t minima = (c >> 4 & 0x0f0f0f0fu) | (b >> 6 & 0x03030303u) << 4;
	__m256 d = _mm256_set1_ps(half_at(block)), d_minimum = _mm256_set1_ps(half_at(block + 2));
	__m256i scale =
		_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)(scales << 32 | (a & 0x3f3f3f3fu))));
	__m256i minimum =
		_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)(minima << 32 | (b & 0x3f3f3f3fu))));

	_mm256_storeu_ps(heads, _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)));
	_mm256_storeu_ps(heads + 8, _mm256_mul_ps(d_minimum, _mm256_cvtepi32_ps(minimum)));
}

static ALWAYS_INLINE void q4_k_block(const uint8_t *block, shelf values, float *out)
{
	float heads[16];

	heads_of_k(block, heads);
	UNROLL for (int run = 0; run < 8; run += 2)
	{
		const uint8_t *bytes = block + 16 + run * 16;
		float *low_to = out + run * 32, *high_to = low_to + 32;
		book low = book_affine(values, v_set(heads[run]), v_set(heads[run + 8]));
		book high = book_affine(values, v_set(heads[run + 1]), v_set(heads[run + 9]));
		store_nibbles(low_to, high_to, load_16(bytes), low, high);
		store_nibbles(low_to + 16, high_to + 16, load_16(bytes + 16), low, high);
	}
}

/* Words moved by so many bits, to the left if above 0. */
static inline __m256i moved(__m256i words, int bits)
{
	return bits < 0 ? _mm256_srli_epi16(words, -bits) : _mm256_slli_epi16(words, bits);
}

/* The low or, moved, the high halves of bytes, with those bits of `upper` that the mask lets through. */
static inline __m256i codes_of(__m256i bytes, bool high, __m256i upper, int mask)
{
	__m256i fours = high ? _mm256_srli_epi16(bytes, 4) : bytes;

	return _mm256_or_si256(_mm256_and_si256(fours, _mm256_set1_epi8(15)),
	                       _mm256_and_si256(upper, _mm256_set1_epi8((char)mask)));
}

static ALWAYS_INLINE void q5_k_block(const uint8_t *block, shelf values, float *out)
{
	float heads[16];
	__m256i fifths = load_32(block + 16);

	(void)values;
	heads_of_k(block, heads);
	UNROLL for (int run = 0; run < 8; run++)
	{
		__m256i bytes = load_32(block + 48 + run / 2 * 32);
		__m256i codes = codes_of(bytes, run % 2, moved(fifths, 4 - run), 0x10);
		vec scale = v_set(heads[run]), minus = v_set(heads[run + 8]);
		store_affine(out + run * 32, _mm256_castsi256_si128(codes), scale, minus);
		store_affine(out + run * 32 + 16, _mm256_extracti128_si256(codes, 1), scale, minus);
	}
}

static ALWAYS_INLINE void q6_k_block(const uint8_t *block, shelf values, float *out)
{
	float scales[16];

	(void)values;
	store_scaled(scales, load_16(block + 192), v_half(block + 208));
	UNROLL for (int i = 0; i < 8; i++)
	{
		int half = i / 4, run = i % 4;
		__m256i bytes = load_32(block + half * 64 + run % 2 * 32);
		__m256i upper = moved(load_32(block + 128 + half * 32), 4 - 2 * run);
		__m256i codes = codes_of(bytes, run / 2, upper, 0x30);
		store_scaled_32(out + i * 32, _mm256_sub_epi8(codes, _mm256_set1_epi8(32)),
		                v_set(scales[2 * i]), v_set(scales[2 * i + 1]));
	}
}

/* The scales of the eight runs of a block of IQ4_XS. */
static inline void heads_of_xs(const uint8_t *block, float heads[8])
{
	__m256i lower = _mm256_srlv_epi32(_mm256_set1_epi32((int32_t)word_at(block + 4)),
	                                  _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
	__m256i upper = _mm256_srlv_epi32(_mm256_set1_epi32((int32_t)(word_at(block) >> 16)),
	                                  _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
	__m256i code =
		_mm256_or_si256(_mm256_and_si256(lower, _mm256_set1_epi32(15)),
	                    _mm256_slli_epi32(_mm256_and_si256(upper, _mm256_set1_epi32(3)), 4));
	__m256 scale = _mm256_cvtepi32_ps(_mm256_sub_epi32(code, _mm256_set1_epi32(32)));

	_mm256_storeu_ps(heads, _mm256_mul_ps(_mm256_set1_ps(half_at(block)), scale));
}

static ALWAYS_INLINE void iq4_xs_block(const uint8_t *block, shelf values, float *out)
{
	float heads[8];

	heads_of_xs(block, heads);
	UNROLL for (int run = 0; run < 8; run++)
	{
		book b = book_scaled(values, v_set(heads[run]));
		store_nibbles(out + run * 32, out + run * 32 + 16, load_16(block + 8 + run * 16), b, b);
	}
}

static const int8_t q4_0_values[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

/* What is done with every such format: X(format, block function, elements and bytes of a block, values of four bits). */
#define FOR_BLOCKS(X) \
	X(Q8_0, q8_0_block, 32, 34, plain_codes) \
	X(Q4_0, four_bit_block, 32, 18, q4_0_values) \
	X(Q5_0, q5_0_block, 32, 22, plain_codes) \
	X(Q4_K, q4_k_block, 256, 144, plain_codes) \
	X(Q5_K, q5_k_block, 256, 176, plain_codes) \
	X(Q6_K, q6_k_block, 256, 210, plain_codes) \
	X(IQ4_NL, four_bit_block, 32, 18, format_iq4_values) \
	X(IQ4_XS, iq4_xs_block, 256, 136, format_iq4_values) \
	X(MXFP4, mxfp4_block, 32, 17, format_mxfp4_values)

#define DEFINE_EXPAND(name, block_fn, elements, bytes, codes) \
	static void expand_##name(const format_matrix *m, uint32_t row, uint32_t rows, uint32_t first, \
	                          uint32_t count, float *out) \
	{ \
		shelf values = shelf_of(codes); \
		for (uint32_t r = 0; r < rows; r++, out += PIECE_STRIDE) { \
			const uint8_t *block = block_at(m, row + r, first, elements, bytes); \
			for (uint32_t i = 0; i < count; i += (elements), block += (bytes)) \
				block_fn(block, values, out + i); \
		} \
	}

static inline const uint8_t *block_at(const format_matrix *m, uint32_t row, uint32_t first,
                                      uint32_t elements, uint32_t bytes)
{
	return m->data + row * m->row_bytes + (uint64_t)(first / elements) * bytes;
}

FOR_BLOCKS(DEFINE_EXPAND)

#include "kernels/expand_scaled_impl.h"

#endif
#endif
