/* SPDX-License-Identifier: MIT */
/* The launches of an arithmetic: which kernel, in which tiles, with how many entries. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_TILES_CUH
#define UFM_DEVICE_CUDA_PRODUCT_TILES_CUH

#include "device/cuda/product/few.cuh"
#include "device/cuda/product/many.cuh"
#include "device/cuda/product/start.cuh"

/* Below so many blocks of a 16 tile the columns are split instead, over more warps: a single expert
 * would leave most of the device idle. Measured on an H200 (docs/performance-log.md). */
#define SPLIT_BELOW_BLOCKS 160u
#define ENTRIES_IN_TURN 8u

template <class A> struct launcher {
	typedef tiling<A, 1, 4, 1, 2, 4, 4> tile16;
	typedef tiling<A, 2, 4, 1, 3, 3, 2> tile24;
	typedef tiling<A, 2, 4, 1, 4, 3, 2> tile32;

	/* Blocks that find no rows cost more than going on to the next entry. */
	static uint32_t entries_at_once(const product_launch &l)
	{
		return l.rare && l.p.entries > ENTRIES_IN_TURN ? ENTRIES_IN_TURN : l.p.entries;
	}
	/* How many rows entries on the device have is not known here: a block goes on to further
	 * rows. */
	template <class T> static cudaError_t many(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.gated ? T::rows / 2 : T::rows;
		uint32_t row_tiles = (l.rows + T::tokens - 1) / T::tokens;
		dim3 grid(l.p.device_entries ? 1 : row_tiles, (l.p.units + units - 1) / units,
		          entries_at_once(l));
		return start_product(multiply_many<T, ENTRIES_FEW>, multiply_many<T, ENTRIES_MAX>, grid,
		                     T::threads, sizeof(typename T::shared), l, stream);
	}
	template <uint32_t T> static cudaError_t few(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.gated ? FEW_ROWS / 2 : FEW_ROWS;
		dim3 grid(1, (l.p.units + units - 1) / units, entries_at_once(l));
		return start_product(multiply_few<A, T, ENTRIES_FEW>, multiply_few<A, T, ENTRIES_MAX>, grid,
		                     FEW_THREADS, sizeof(few_shared<A, T>), l, stream);
	}
	static cudaError_t up_to_16(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.gated ? tile16::rows / 2 : tile16::rows;
		uint64_t blocks = (uint64_t)((l.p.units + units - 1) / units) * l.p.entries;
		return blocks < SPLIT_BELOW_BLOCKS ? few<16>(l, stream) : many<tile16>(l, stream);
	}
	template <uint32_t T> static cudaError_t load_few(void)
	{
		cudaError_t error = load_kernel(multiply_few<A, T, ENTRIES_FEW>, sizeof(few_shared<A, T>));
		return error ? error
		             : load_kernel(multiply_few<A, T, ENTRIES_MAX>, sizeof(few_shared<A, T>));
	}
	template <class T> static cudaError_t load_many(void)
	{
		cudaError_t error = load_kernel(multiply_many<T, ENTRIES_FEW>, sizeof(typename T::shared));
		return error ? error
		             : load_kernel(multiply_many<T, ENTRIES_MAX>, sizeof(typename T::shared));
	}
	static cudaError_t launch(product_tile tile, const product_launch &l, cudaStream_t stream)
	{
		switch (tile) {
		case PRODUCT_2:
			return few<2>(l, stream);
		case PRODUCT_8:
			return few<8>(l, stream);
		case PRODUCT_16:
			return up_to_16(l, stream);
		case PRODUCT_24:
			return many<tile24>(l, stream);
		case PRODUCT_32:
		case PRODUCT_WIDE:
			break;
		}
		return many<tile32>(l, stream);
	}
	static cudaError_t load(void)
	{
		cudaError_t error = load_few<2>();
		if (!error)
			error = load_few<8>();
		if (!error)
			error = load_few<16>();
		if (!error)
			error = load_many<tile16>();
		if (!error)
			error = load_many<tile24>();
		return error ? error : load_many<tile32>();
	}
};

/* Defines the two functions that product.cu calls for an arithmetic. */
#define DEFINE_PRODUCT(A) \
	cudaError_t product_##A(product_tile tile, const product_launch &l, cudaStream_t stream) \
	{ \
		return launcher<A>::launch(tile, l, stream); \
	} \
	cudaError_t product_load_##A(void) \
	{ \
		return launcher<A>::load(); \
	}

/* Of one that takes rows of x in bf16 as well. */
#define DEFINE_PRODUCT_HALVES(A) \
	cudaError_t product_##A(product_tile tile, const product_launch &l, cudaStream_t stream) \
	{ \
		return l.p.x_half ? launcher<from_half<A>>::launch(tile, l, stream) \
		                  : launcher<A>::launch(tile, l, stream); \
	} \
	cudaError_t product_load_##A(void) \
	{ \
		cudaError_t error = launcher<A>::load(); \
		return error ? error : launcher<from_half<A>>::load(); \
	}

#endif
