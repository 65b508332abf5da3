/* SPDX-License-Identifier: MIT */
/* The products of the kernel of warpgroups, a tile at a time. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_MULTIPLY_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_MULTIPLY_CUH

#include "device/cuda/product/wide_store.cuh"

template <class T> struct wide_multiplier {
	uint32_t stages_at, group; /* of two */
	wide_barriers barriers;
	wide_ring ring;

	__device__ void release(uint32_t stage)
	{
		if (threadIdx.x % WARP == 0)
			barrier_arrive(&barriers.empty[stage]);
	}
	/* All products of a stage; first: sums begin. */
	template <uint32_t SUMS>
	__device__ void multiply_stage(float (&sums)[T::tiles][SUMS], bool first)
	{
		uint32_t at = stages_at + ring.stage * T::stage_bytes;
		uint64_t w = wgmma_matrix(at + group * T::tiles * WGMMA_ROWS * WGMMA_ROW_BYTES);
		uint64_t x = wgmma_matrix(at + T::w_bytes);
		wgmma_begin();
#pragma unroll
		for (uint32_t k = 0; k < WIDE_STEPS; k++) {
#pragma unroll
			for (uint32_t t = T::terms; t-- > 0;) { /* small terms first */
#pragma unroll
				for (uint32_t m = 0; m < T::tiles; m++)
					wgmma(sums[m], wgmma_columns(w, k) + m * (WGMMA_ROWS * WGMMA_ROW_BYTES >> 4),
					      wgmma_columns(x, k) + t * (T::x_bytes >> 4),
					      !(first && k == 0 && t == T::terms - 1));
			}
		}
		wgmma_commit();
	}
	template <uint32_t SUMS>
	__device__ void whole_sums(float (&sums)[T::tiles][SUMS], uint32_t chunks)
	{
		uint32_t before = 0;

		for (uint32_t chunk = 0; chunk < chunks; chunk++) {
			barrier_wait(&barriers.full[ring.stage], ring.round);
			multiply_stage(sums, chunk == 0);
			wgmma_wait<1>();
			if (chunk)
				release(before);
			before = ring.stage;
			ring.step<T::stages>();
		}
		wgmma_wait<0>();
		release(before);
	}
	template <uint32_t SUMS>
	__device__ void flushed_sums(float (&totals)[T::tiles][SUMS], uint32_t chunks)
	{
		float sums[T::tiles][SUMS] = {};

		for (uint32_t chunk = 0; chunk < chunks; chunk++) {
			barrier_wait(&barriers.full[ring.stage], ring.round);
			multiply_stage(sums, true);
			wgmma_wait<0>();
			release(ring.stage);
			ring.step<T::stages>();
#pragma unroll
			for (uint32_t i = 0; i < T::tiles * SUMS; i++)
				totals[i / SUMS][i % SUMS] += sums[i / SUMS][i % SUMS];
		}
	}
	template <uint32_t SUMS> __device__ void tile(const product &p, const wide_tile &tile)
	{
		float sums[T::tiles][SUMS] = {};
		uint32_t chunks = (p.columns + WIDE_COLUMNS - 1) / WIDE_COLUMNS;

		if constexpr (T::flushes)
			flushed_sums(sums, chunks);
		else
			whole_sums(sums, chunks);
		wide_store<T>(group).store(p, tile, sums);
	}
	/* In a product as narrow as its tokens allow. */
	__device__ void any_tile(const product &p, const wide_tile &at)
	{
		if (at.rows <= 32)
			tile<16>(p, at);
		else if (at.rows <= 64)
			tile<32>(p, at);
		else if (at.rows <= 96)
			tile<48>(p, at);
		else if (T::tokens == 128 || at.rows <= 128)
			tile<64>(p, at);
		else if (at.rows <= 144)
			tile<T::tokens == 128 ? 64 : 72>(p, at);
		else
			tile<T::tokens == 128 ? 64 : 80>(p, at);
	}
};

#endif
