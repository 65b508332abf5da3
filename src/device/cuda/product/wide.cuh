/* SPDX-License-Identifier: MIT */
/*
 * The kernel for many rows on Hopper: bf16 weights times bf16 parts of x, by warpgroups.
 *
 * A block is on a multiprocessor for the whole launch and takes every gridDim-th tile: 64 or 128 rows of weights for each
 * of two warpgroups that multiply, by up to 160 rows of x. One or two other warpgroups bring both, 64 columns a stage, and
 * are stages ahead, also of the next tile. Weights are the tensor cores' rows and tokens their columns, so a tile of few
 * tokens is a narrow product, and what an expert lacks of a whole tile costs little.
 *
 * A sum grows inside the tensor core over all columns, or over one stage where the arithmetic wants that, then in f32: in
 * which order depends on the number of columns alone, not on the width of the tile. The few-row kernels add otherwise, so
 * who computes an expert is decided by its rows in the whole call (product.cu).
 */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_CUH

#include "device/cuda/launch.cuh"
#include "device/cuda/product/wide_bring.cuh"
#include "device/cuda/product/wide_multiply.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define WIDE_IS_HERE 1
#else
#define WIDE_IS_HERE 0
#endif

template <class T, uint32_t N>
__global__ void __launch_bounds__(T::threads, 1)
	multiply_wide(const __grid_constant__ product p, const __grid_constant__ entry_list<N> list)
{
#if WIDE_IS_HERE
	extern __shared__ char memory[];
	/* The only static shared memory of any product: where it is 0 bytes, this code was not compiled. */
	__shared__ wide_tiles tiles;
	__shared__ __align__(8) uint64_t barriers_of_stages[2 * T::stages];
	uint32_t skip = (0u - shared_address(memory)) % WGMMA_ALIGN_BYTES;
	char *stages = memory + skip;
	const wide_barriers barriers = {barriers_of_stages, barriers_of_stages + T::stages};
	uint32_t tile_units = wide_layout<T>(p.gated).tile_units();
	uint32_t unit_tiles = (p.units + tile_units - 1) / tile_units;
	uint32_t group = threadIdx.x / WARPGROUP;

	if (threadIdx.x == 0) {
		for (uint32_t s = 0; s < T::stages; s++) {
			barrier_init(&barriers.full[s], T::bringers * WARPGROUP / WARP);
			barrier_init(&barriers.empty[s], WIDE_MULTIPLIERS * WARPGROUP / WARP);
		}
		written_for_wgmma();
	}
	if (!p.early)
		chain_wait();
	if (threadIdx.x < WARP)
		count_tiles<T>(p, list, unit_tiles, tiles);
	__syncthreads();
	begin_with_x(p);
	if (group >= WIDE_MULTIPLIERS) {
		registers_shrink<T::registers_bring>();
		uint32_t chunks = (p.columns + WIDE_COLUMNS - 1) / WIDE_COLUMNS;
		uint32_t all = tiles.first[p.entries], i = blockIdx.x;
		wide_bringer<T> bringer(shared_address(stages), barriers);
		wide_tile tile = {}, next = i < all ? tile_at<T>(p, list, tiles, i, tile_units) : tile;
		if constexpr (!T::half)
			bringer.load_x(p, next.row, next.rows, 0);
		for (; i < all; i += gridDim.x) {
			tile = next;
			if (i + gridDim.x < all)
				next = tile_at<T>(p, list, tiles, i + gridDim.x, tile_units);
			bringer.begin_tile(p, tile);
			for (uint32_t chunk = 0; chunk < chunks; chunk++) {
				bool last = chunk + 1 == chunks;
				bringer.bring_stage(p, tile, stages, chunk, last ? next.row : tile.row,
				                    last ? next.rows : tile.rows, last ? 0 : chunk + 1);
			}
		}
		bringer.tell_all();
	} else {
		registers_grow<T::registers_multiply>();
		wide_multiplier<T> multiplier = {shared_address(stages), group, barriers, {}};
		for (uint32_t i = blockIdx.x; i < tiles.first[p.entries]; i += gridDim.x)
			multiplier.any_tile(p, tile_at<T>(p, list, tiles, i, tile_units));
	}
	end(p);
#endif
}

#endif
