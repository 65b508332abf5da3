/* SPDX-License-Identifier: MIT */
/* The instructions of tensor cores, and the numbers that they multiply. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_MMA_CUH
#define UFM_DEVICE_CUDA_PRODUCT_MMA_CUH

#include <cstdint>

#define MMA_ROWS 16u /* of weights */
#define MMA_TOKENS 8u

/* sum = w x, or sum += w x. */
template <bool FIRST>
__device__ void mma_tf32(float (&sum)[4], const uint32_t (&w)[4], const uint32_t *x)
{
	asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
	    : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
	    : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]),
	      "f"(FIRST ? 0.0f : sum[0]), "f"(FIRST ? 0.0f : sum[1]), "f"(FIRST ? 0.0f : sum[2]),
	      "f"(FIRST ? 0.0f : sum[3]));
}

template <bool FIRST>
__device__ void mma_bf16(float (&sum)[4], const uint32_t (&w)[4], const uint32_t *x)
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
	    : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
	    : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]),
	      "f"(FIRST ? 0.0f : sum[0]), "f"(FIRST ? 0.0f : sum[1]), "f"(FIRST ? 0.0f : sum[2]),
	      "f"(FIRST ? 0.0f : sum[3]));
}

/* The upper halves of two words: both numbers cut off to bf16. */
__device__ inline uint32_t pack_heads(float low, float high)
{
	return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}

__device__ inline float head_bf16(float value)
{
	return __uint_as_float(__float_as_uint(value) & 0xffff0000u);
}

__device__ inline float head_tf32(float value)
{
	return __uint_as_float(__float_as_uint(value) & 0xffffe000u);
}

__device__ inline uint32_t round_tf32(float value)
{
	uint32_t bits;

	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
	return bits;
}

#endif
