/* SPDX-License-Identifier: MIT */
/* Rows of x: read from memory, split in parts into shared memory, and read by lanes there. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_ROWS_CUH
#define UFM_DEVICE_CUDA_PRODUCT_ROWS_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product/weights.cuh"

/* Bytes of a row of x in one part, and where its vector that goes with a vector of weights lies: 16
 * bytes of 128, or 8 of 64. */
template <class A> struct x_row {
	static constexpr uint32_t vector_bytes = A::words * A::columns / VECTORS;
	static constexpr uint32_t bytes = vector_bytes * VECTORS;
	__device__ static uint32_t place(uint32_t token, uint32_t vector)
	{
		uint32_t other = bytes == W_ROW_BYTES ? token & 1u : token >> 1 & 1u;

		return token * bytes + (vector ^ other << 2) * vector_bytes;
	}
};

template <class A> __device__ uint32_t x_lane_place(uint32_t lane, uint32_t half)
{
	return x_row<A>::place(lane / 4, lane % 4) ^ half * (x_row<A>::bytes / 2);
}

/* Rows of x in memory. */
template <class A> struct x_stored {
	static constexpr uint32_t element_bytes = A::x_half ? 2 : 4;
	const char *at;

	__device__ x_stored(const product &p, uint64_t row)
		: at((const char *)p.x + row * p.columns * element_bytes)
	{
	}
	__device__ const char *element(uint64_t index) const
	{
		return at + index * element_bytes;
	}
};

/* Four columns as they are stored: words of f32, or two of bf16. */
template <class A> struct x_four {
	uint32_t word[A::x_half ? 2 : 4];

	__device__ void load(const char *from)
	{
		if constexpr (A::x_half) {
			uint2 two = *(const uint2 *)from;
			word[0] = two.x;
			word[1] = two.y;
		} else {
			uint4 four = *(const uint4 *)from;
			word[0] = four.x;
			word[1] = four.y;
			word[2] = four.z;
			word[3] = four.w;
		}
	}
	/* Of which `columns` are left, then zeros. */
	__device__ void load_part(const char *from, int64_t columns)
	{
#pragma unroll
		for (uint32_t i = 0; i < 4; i++) {
			if constexpr (A::x_half) {
				uint32_t half = i < columns ? ((const uint16_t *)from)[i] : 0;
				word[i / 2] = i % 2 ? word[i / 2] | half << 16 : half;
			} else {
				word[i] = i < columns ? ((const uint32_t *)from)[i] : 0;
			}
		}
	}
	__device__ void split(uint32_t (&parts)[A::terms][A::words]) const
	{
		if constexpr (A::x_half) {
			parts[0][0] = word[0];
			parts[0][1] = word[1];
		} else {
			const float wide[4] = {__uint_as_float(word[0]), __uint_as_float(word[1]),
			                       __uint_as_float(word[2]), __uint_as_float(word[3])};
			A::split(wide, parts);
		}
	}
};

/* Where four columns from `column` of the chunk on lie in a tile of x. */
template <class A> __device__ uint32_t x_four_place(uint32_t token, uint32_t column)
{
	constexpr uint32_t in_vector = A::columns / VECTORS; /* columns */

	return x_row<A>::place(token, column / in_vector) +
	       column % in_vector * (x_row<A>::vector_bytes / in_vector);
}

/* All parts of four columns; the tiles of two parts have TOKENS rows between them. */
template <class A, uint32_t TOKENS> __device__ void store_x(char *at, const x_four<A> &x)
{
	uint32_t parts[A::terms][A::words];

	x.split(parts);
#pragma unroll
	for (uint32_t t = 0; t < A::terms; t++) {
		if constexpr (A::words == 4)
			*(uint4 *)(at + t * TOKENS * x_row<A>::bytes) = {parts[t][0], parts[t][1], parts[t][2],
			                                                 parts[t][3]};
		else
			*(uint2 *)(at + t * TOKENS * x_row<A>::bytes) = {parts[t][0], parts[t][1]};
	}
}

template <class A, uint32_t TOKENS>
__device__ void read_x(uint32_t (&x)[A::terms][4], const char *at)
{
#pragma unroll
	for (uint32_t t = 0; t < A::terms; t++) {
		if constexpr (x_row<A>::vector_bytes == 16) {
			uint4 four = *(const uint4 *)(at + t * TOKENS * x_row<A>::bytes);
			x[t][0] = four.x;
			x[t][1] = four.y;
			x[t][2] = four.z;
			x[t][3] = four.w;
		} else {
			uint2 two = *(const uint2 *)(at + t * TOKENS * x_row<A>::bytes);
			x[t][0] = two.x;
			x[t][1] = two.y;
		}
	}
}

#endif
