/* SPDX-License-Identifier: MIT */
/* Rows of weights: where they lie in memory, how a chunk of them comes into shared memory, and what
 * a lane reads of it there. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WEIGHTS_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WEIGHTS_CUH

#include "device/cuda/product/mma.cuh"
#include "device/cuda/product/product.cuh"

#define W_ROW_BYTES 128u /* of a row of weights in a stage */
#define VECTORS (W_ROW_BYTES / 16u)

/*
 * How weights are stored:
 *   weight, dtype   of an element
 *   columns         of a chunk
 *   per_vector      elements in 16 bytes
 *   w_part          where the tensor core takes them as they are: what it takes of two vectors
 */
struct stored_f32 {
	typedef float weight;
	static constexpr ufm_dtype dtype = UFM_F32;
	static constexpr uint32_t columns = W_ROW_BYTES / sizeof(weight);
	static constexpr uint32_t per_vector = columns / VECTORS;
};

struct stored_bf16 {
	typedef uint16_t weight;
	static constexpr ufm_dtype dtype = UFM_BF16;
	static constexpr uint32_t columns = W_ROW_BYTES / sizeof(weight);
	static constexpr uint32_t per_vector = columns / VECTORS;
	/* Two words of either row an mma. */
	struct w_part {
		uint32_t all[2][4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
#pragma unroll
			for (uint32_t s = 0; s < 2; s++) {
				all[s][0] = __float_as_uint(a[2 * s]);
				all[s][1] = __float_as_uint(b[2 * s]);
				all[s][2] = __float_as_uint(a[2 * s + 1]);
				all[s][3] = __float_as_uint(b[2 * s + 1]);
			}
		}
	};
};

/* The 16 rows of an mma are 16 units, or of a gated expert the gates of 8 units and then their
 * ups, so that a lane holds both of a unit. */
template <class A> struct weights {
	const typename A::weight *matrix, *gate; /* NULL: no gate */
	uint32_t units, columns;

	__device__ weights(const product &p, const char *block)
		: matrix((const typename A::weight *)(block + p.matrix)),
		  gate(p.gated ? (const typename A::weight *)(block + p.gate) : nullptr), units(p.units),
		  columns(p.columns)
	{
	}
	__device__ uint32_t units_of_mma(void) const
	{
		return gate ? MMA_ROWS / 2 : MMA_ROWS;
	}
	/* Of row `row` of a tile of mma tiles whose first unit is `first`. */
	__device__ uint32_t unit_of(uint32_t first, uint32_t row) const
	{
		return gate ? first + row / MMA_ROWS * (MMA_ROWS / 2) + row % (MMA_ROWS / 2) : first + row;
	}
	__device__ const typename A::weight *row_at(uint32_t unit, uint32_t row) const
	{
		const typename A::weight *base = gate && row % MMA_ROWS < MMA_ROWS / 2 ? gate : matrix;

		return base + (uint64_t)(unit < units ? unit : 0) * columns;
	}
};

/* Eight lanes that read 16 bytes each, four of one row and four of the next, meet no bank twice:
 * the vectors of odd rows are stored elsewhere in the row. */
__device__ inline uint32_t w_place(uint32_t row, uint32_t vector)
{
	return row * W_ROW_BYTES + (vector ^ (row & 1u) << 2) * 16u;
}

template <uint32_t LEFT> __device__ void stages_wait(void)
{
	asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

__device__ inline void stage_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* 16 bytes to shared memory, asynchronously. */
__device__ inline void copy_vector(char *to, const void *from)
{
	asm volatile(
		"cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
		"l"(from)
		: "memory");
}

/* The same one by one, for a row that is not aligned or ends within: `columns` are left, then
 * zeros. */
template <typename T> __device__ void copy_part(char *to, const T *from, int64_t columns)
{
	constexpr uint32_t N = 16 / sizeof(T);

#pragma unroll
	for (uint32_t i = 0; i < N; i++)
		((T *)to)[i] = i < columns ? from[i] : (T)0;
}

__device__ inline float4 shared_vector(const char *at)
{
	return *(const float4 *)at;
}

/* Where in a tile of weights a lane finds its vector of row lane / 4, by half of the chunk. */
__device__ inline uint32_t w_lane_place(uint32_t lane, uint32_t half)
{
	return w_place(lane / 4, lane % 4) ^ half * (W_ROW_BYTES / 2);
}

/* The lane's vectors of the 16 rows of an mma. */
template <class A> __device__ void read_weights(typename A::w_part &part, const char *at)
{
	float4 a = shared_vector(at);
	float4 b = shared_vector(at + MMA_ROWS / 2 * W_ROW_BYTES);

	part.set({a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w});
}

#endif
