/* SPDX-License-Identifier: MIT */
/* Element types as the kernels read and write them, and sums over a warp. */
#ifndef UFM_DEVICE_CUDA_NUMBERS_CUH
#define UFM_DEVICE_CUDA_NUMBERS_CUH

#include <cstdint>
#include <cuda_fp16.h>
#include <ufm/ufm.h>

#define WARP 32u
#define ALL_LANES 0xffffffffu

__device__ inline float bf16_widen(uint32_t bits)
{
	return __uint_as_float(bits << 16);
}

/* To the nearest, ties to even; a NaN stays one. */
__device__ inline uint16_t bf16_round(float value)
{
	uint32_t bits = __float_as_uint(value);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40u);
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* Two of them, to the nearest, ties to even. */
__device__ inline uint32_t pack_bf16(float low, float high)
{
	uint32_t pair;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
	return pair;
}

__device__ inline float half_widen(uint32_t bits, ufm_dtype dtype)
{
	return dtype == UFM_F16 ? __half2float(__ushort_as_half((uint16_t)bits))
	                        : bf16_widen(bits & 0xffffu);
}

/* The index-th element of an array of tokens or gates. */
__device__ inline float element_at(const void *base, ufm_dtype dtype, uint64_t index)
{
	if (dtype == UFM_F32)
		return ((const float *)base)[index];
	return half_widen(((const uint16_t *)base)[index], dtype);
}

__device__ inline void element_put(void *base, ufm_dtype dtype, uint64_t index, float value)
{
	if (dtype == UFM_F32)
		((float *)base)[index] = value;
	else
		((uint16_t *)base)[index] =
			dtype == UFM_F16 ? __half_as_ushort(__float2half_rn(value)) : bf16_round(value);
}

/* V of them: four in one access, or one. */
template <uint32_t V> __device__ void load_floats(const float *at, float (&out)[V])
{
	static_assert(V == 1 || V == 4, "one access");
	if constexpr (V == 4) {
		float4 four = *(const float4 *)at;
		out[0] = four.x;
		out[1] = four.y;
		out[2] = four.z;
		out[3] = four.w;
	} else {
		out[0] = *at;
	}
}

/* The same bits in every lane: both sides of each addition are the same two numbers. */
__device__ inline float warp_sum(float value)
{
#pragma unroll
	for (uint32_t offset = WARP / 2; offset; offset /= 2)
		value += __shfl_xor_sync(ALL_LANES, value, offset);
	return value;
}

#endif
