/* SPDX-License-Identifier: MIT */
/* Four columns of a row of tokens at a time; WIDE: in one access, where rows are aligned and have a multiple of four. */
#ifndef UFM_DEVICE_CUDA_COLUMNS_CUH
#define UFM_DEVICE_CUDA_COLUMNS_CUH

#include "device/cuda/numbers.cuh"

#define COLUMNS 4u

typedef struct columns {
	float value[COLUMNS];
} columns;

/* From column c of the row that begins at element `at`; 0 past the last. */
template <bool WIDE>
__device__ columns columns_load(const void *base, ufm_dtype dtype, uint64_t at, uint32_t c,
                                uint32_t d_model)
{
	columns four = {};

	if (WIDE && c < d_model && dtype == UFM_F32) {
		float4 from = *(const float4 *)((const float *)base + at + c);
		four = {{from.x, from.y, from.z, from.w}};
	} else if (WIDE && c < d_model) {
		uint2 two = *(const uint2 *)((const uint16_t *)base + at + c);
		four = {{half_widen(two.x, dtype), half_widen(two.x >> 16, dtype), half_widen(two.y, dtype),
		         half_widen(two.y >> 16, dtype)}};
	} else {
#pragma unroll
		for (uint32_t i = 0; i < COLUMNS; i++)
			if (c + i < d_model)
				four.value[i] = element_at(base, dtype, at + c + i);
	}
	return four;
}

template <bool WIDE>
__device__ void columns_store(void *base, ufm_dtype dtype, uint64_t at, uint32_t c,
                              uint32_t d_model, const columns &four)
{
	if (WIDE && c < d_model && dtype == UFM_F32) {
		*(float4 *)((float *)base + at + c) =
			make_float4(four.value[0], four.value[1], four.value[2], four.value[3]);
	} else if (WIDE && c < d_model && dtype == UFM_BF16) {
		uint2 two = {pack_bf16(four.value[0], four.value[1]),
		             pack_bf16(four.value[2], four.value[3])};
		*(uint2 *)((uint16_t *)base + at + c) = two;
	} else {
#pragma unroll
		for (uint32_t i = 0; i < COLUMNS; i++)
			if (c + i < d_model)
				element_put(base, dtype, at + c + i, four.value[i]);
	}
}

/* Whether rows of that many elements, so far apart, can be read four columns at once. */
static inline bool columns_are_wide(ufm_devptr base, ufm_dtype dtype, uint64_t stride,
                                    uint32_t d_model)
{
	return d_model % COLUMNS == 0 && stride % COLUMNS == 0 &&
	       base % (dtype == UFM_F32 ? 16 : 8) == 0;
}

#endif
