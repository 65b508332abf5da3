/* SPDX-License-Identifier: MIT */
/*
 * What the tensor cores multiply for each type of weights and precision, and in which order it is
 * added.
 *
 * The columns are cut into four segments of whole chunks. A sum grows inside the tensor core over
 * `flush` chunks, then is added to the segment's; the four segments are added in order. (Tensor
 * cores cut sums off, they do not round, so long sums must not grow inside them: Ootomo and Yokota,
 * "Recovering single precision accuracy from Tensor Cores", 2022, from where the split of f32 in
 * two parts is too.)
 */
#ifndef UFM_DEVICE_CUDA_PRODUCT_ARITHMETIC_CUH
#define UFM_DEVICE_CUDA_PRODUCT_ARITHMETIC_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product/mma.cuh"
#include "device/cuda/product/weights.cuh"

#define SEGMENTS 4u
#define FLUSH_NEVER 0x40000000u /* or after every chunk: 1 */

/* The chunks of a segment are [segment_begin(chunks, s), segment_begin(chunks, s + 1)). */
__device__ inline uint32_t segment_begin(uint32_t chunks, uint32_t segment)
{
	return chunks * segment / SEGMENTS;
}

/* A lane holds 16 bytes of columns of two rows of weights, and the same columns of a row of x.
 * Which columns an mma takes as its k-th is ours to choose, as long as both sides agree: the
 * lane's own. */

/*
 * An arithmetic is one of the storage types of weights (product/weights.cuh), and has
 *   flush             chunks whose products are added within the tensor core: 1, or a whole segment
 *   terms, words      parts of x, and words that four columns take in each
 *   halves            x may be stored in bf16, and then from_half<> of it reads that
 *   x_half            it does
 *   split             four columns of x into words of every part
 *   w_part            the lane's 16 bytes of two rows of weights, unless the storage type has it
 *   products          mmas for 16 bytes of weights, small terms first
 *   multiply          the i-th of them, added to sum or the first; x[part]: what the lane holds
 * The mmas of one sum wait for each other, so callers go through all sums before the next i.
 */

/* f32 weights, f32 products: w x = w_low x_high + w_high x_low + w_high x_high, in parts of 11
 * bits. */
struct f32_exact : stored_f32 {
	static constexpr uint32_t flush = 1, terms = 2, words = 4, products = 6;
	static constexpr bool halves = false, x_half = false;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
#pragma unroll
		for (uint32_t i = 0; i < 4; i++) {
			float head = head_tf32(x[i]);
			out[0][i] = __float_as_uint(head);
			out[1][i] = __float_as_uint(x[i] - head);
		}
	}
	struct w_part {
		uint32_t high[2][4], low[2][4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
#pragma unroll
			for (uint32_t s = 0; s < 2; s++) {
				float four[4] = {a[2 * s], b[2 * s], a[2 * s + 1], b[2 * s + 1]};
#pragma unroll
				for (uint32_t i = 0; i < 4; i++) {
					float head = head_tf32(four[i]);
					high[s][i] = __float_as_uint(head);
					low[s][i] = __float_as_uint(four[i] - head);
				}
			}
		}
	};
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		uint32_t s = i / 3;

		mma_tf32<FIRST>(sum, i % 3 == 0 ? w.low[s] : w.high[s], x[i % 3 == 1] + 2 * s);
	}
};

/* f32 weights, both sides rounded to tf32. */
struct f32_tf32 : stored_f32 {
	static constexpr uint32_t flush = FLUSH_NEVER, terms = 1, words = 4, products = 2;
	static constexpr bool halves = false, x_half = false;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
#pragma unroll
		for (uint32_t i = 0; i < 4; i++)
			out[0][i] = round_tf32(x[i]);
	}
	struct w_part {
		uint32_t all[2][4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
#pragma unroll
			for (uint32_t s = 0; s < 2; s++) {
				all[s][0] = round_tf32(a[2 * s]);
				all[s][1] = round_tf32(b[2 * s]);
				all[s][2] = round_tf32(a[2 * s + 1]);
				all[s][3] = round_tf32(b[2 * s + 1]);
			}
		}
	};
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		mma_tf32<FIRST>(sum, w.all[i], x[0] + 2 * i);
	}
};

/* x rounded to bf16. */
struct x_as_bf16 {
	static constexpr uint32_t terms = 1, words = 2;
	static constexpr bool halves = true, x_half = false;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
		out[0][0] = pack_bf16(x[0], x[1]);
		out[0][1] = pack_bf16(x[2], x[3]);
	}
};

/* f32 weights, both sides rounded to bf16. */
struct f32_bf16 : stored_f32, x_as_bf16 {
	static constexpr uint32_t flush = FLUSH_NEVER, products = 1;
	struct w_part {
		uint32_t all[4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
			all[0] = pack_bf16(a[0], a[1]);
			all[1] = pack_bf16(b[0], b[1]);
			all[2] = pack_bf16(a[2], a[3]);
			all[3] = pack_bf16(b[2], b[3]);
		}
	};
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t)
	{
		mma_bf16<FIRST>(sum, w.all, x[0]);
	}
};

/* bf16 weights, f32 products: x cut into three parts of 8 bits, which together are x. */
struct bf16_exact : stored_bf16 {
	static constexpr uint32_t flush = 1, terms = 3, words = 2, products = 6;
	static constexpr bool halves = false, x_half = false;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
#pragma unroll
		for (uint32_t i = 0; i < 2; i++) {
			float a = x[2 * i], b = x[2 * i + 1];
			out[0][i] = pack_heads(a, b);
			a -= head_bf16(a);
			b -= head_bf16(b);
			out[1][i] = pack_heads(a, b);
			out[2][i] = pack_heads(a - head_bf16(a), b - head_bf16(b));
		}
	}
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		mma_bf16<FIRST>(sum, w.all[i / 3], x[2 - i % 3] + 2 * (i / 3));
	}
};

/* bf16 weights, x rounded to bf16. */
struct bf16_bf16 : stored_bf16, x_as_bf16 {
	static constexpr uint32_t flush = FLUSH_NEVER, products = 2;
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		mma_bf16<FIRST>(sum, w.all[i], x[0] + 2 * i);
	}
};

/* The same from rows of x that are bf16 already. */
template <class A> struct from_half : A {
	static_assert(A::halves, "only what is rounded anyway");
	static constexpr bool x_half = true;
};

/* All mmas of the lanes' vectors; first: sums begin. */
template <class A, bool FIRST, uint32_t M, uint32_t N>
__device__ void multiply_all(float (&sums)[M][N][4], const typename A::w_part (&w)[M],
                             const uint32_t (&x)[N][A::terms][4])
{
#pragma unroll
	for (uint32_t i = 0; i < A::products; i++) {
#pragma unroll
		for (uint32_t at = 0; at < M * N; at++) {
			if (FIRST && i == 0)
				A::template multiply<true>(sums[at % M][at / M], w[at % M], x[at / M], i);
			else
				A::template multiply<false>(sums[at % M][at / M], w[at % M], x[at / M], i);
		}
	}
}

#endif
