/* SPDX-License-Identifier: MIT */
/* Rows of x: read from memory, split in parts into shared memory, and read by lanes there. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_ROWS_CUH
#define UFM_DEVICE_CUDA_PRODUCT_ROWS_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product_weights.cuh"

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

/* Rows of x in memory, in f32, or in bf16 where the arithmetic rounds to that. */
template <class A> struct x_stored {
	const char *at;
	uint32_t half; /* 1: bf16 */

	__device__ x_stored(const product &p, uint64_t row)
		: at((const char *)p.x), half(A::halves && p.x_half)
	{
		at += row * p.columns * element_bytes();
	}
	__device__ bool is_half(void) const
	{
		return A::halves && half;
	}
	__device__ uint32_t element_bytes(void) const
	{
		return is_half() ? 2 : 4;
	}
	__device__ const char *element(uint64_t index) const
	{
		return at + index * element_bytes();
	}
};

/* Four columns as they are stored: four words, or two of bf16. What they mean is asked when they are needed, a stage
 * later, so that nothing waits for their arrival before. */
typedef uint32_t x_four[4];

template <class A> __device__ void load_four(x_four &to, const char *from, const x_stored<A> &rows)
{
	if (rows.is_half()) {
		uint2 two = *(const uint2 *)from;
		to[0] = two.x;
		to[1] = two.y;
		return;
	}
	uint4 four = *(const uint4 *)from;
	to[0] = four.x;
	to[1] = four.y;
	to[2] = four.z;
	to[3] = four.w;
}

/* Of which `columns` are left, then zeros. */
template <class A>
__device__ void load_part(x_four &to, const char *from, int64_t columns, const x_stored<A> &rows)
{
	uint32_t half[4];

#pragma unroll
	for (uint32_t i = 0; i < 4; i++) {
		to[i] = half[i] = 0;
		if (i < columns && rows.is_half())
			half[i] = ((const uint16_t *)from)[i];
		else if (i < columns)
			to[i] = ((const uint32_t *)from)[i];
	}
	if (rows.is_half()) {
		to[0] = half[0] | half[1] << 16;
		to[1] = half[2] | half[3] << 16;
	}
}

/* Where four columns from `column` of the chunk on lie in a tile of x. */
template <class A> __device__ uint32_t x_four_place(uint32_t token, uint32_t column)
{
	constexpr uint32_t in_vector = A::columns / VECTORS; /* columns */

	return x_row<A>::place(token, column / in_vector) +
	       column % in_vector * (x_row<A>::vector_bytes / in_vector);
}

template <class A>
__device__ void split_four(const x_four &x, bool half, uint32_t (&parts)[A::terms][A::words])
{
	if constexpr (A::halves) {
		if (half) {
			parts[0][0] = x[0];
			parts[0][1] = x[1];
			return;
		}
	}
	const float wide[4] = {__uint_as_float(x[0]), __uint_as_float(x[1]), __uint_as_float(x[2]),
	                       __uint_as_float(x[3])};
	A::split(wide, parts);
}

/* All parts of four columns; the tiles of two parts have TOKENS rows between them. */
template <class A, uint32_t TOKENS>
__device__ void store_x(char *at, const x_four &x, const x_stored<A> &rows)
{
	uint32_t parts[A::terms][A::words];

	split_four<A>(x, rows.is_half(), parts);
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
