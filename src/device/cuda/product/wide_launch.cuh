/* SPDX-License-Identifier: MIT */
/* The launches of an arithmetic by warpgroups. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_LAUNCH_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_LAUNCH_CUH

#include "device/cuda/product/start.cuh"
#include "device/cuda/product/wide.cuh"

template <class A> struct wide_launcher {
	/* A block a multiprocessor, whatever there is to do. */
	template <class T> static cudaError_t start(const product_launch &l, cudaStream_t stream)
	{
		return start_product(multiply_wide<T, ENTRIES_FEW>, multiply_wide<T, ENTRIES_MAX>,
		                     dim3(l.multiprocessors), T::threads, T::shared_bytes, l, stream);
	}
	static cudaError_t launch(const product_launch &l, cudaStream_t stream)
	{
		if constexpr (A::halves)
			if (l.p.x_half)
				return start<wide<A, true>>(l, stream);
		return start<wide<A, false>>(l, stream);
	}
	template <class T> static cudaError_t load_kernels(bool *is_here)
	{
		cudaFuncAttributes attributes = {};
		cudaError_t error = cudaFuncGetAttributes(&attributes, multiply_wide<T, ENTRIES_FEW>);

		*is_here = attributes.sharedSizeBytes > 0;
		if (error || !*is_here)
			return error;
		error = load_kernel(multiply_wide<T, ENTRIES_FEW>, T::shared_bytes);
		return error ? error : load_kernel(multiply_wide<T, ENTRIES_MAX>, T::shared_bytes);
	}
	/* *is_here: the plugin was built with code for this GPU's warpgroups. */
	static cudaError_t load(bool *is_here)
	{
		cudaError_t error = load_kernels<wide<A, false>>(is_here);
		if constexpr (A::halves)
			if (!error && *is_here)
				error = load_kernels<wide<A, true>>(is_here);
		return error;
	}
};

/* Defines the two functions that product.cu calls for an arithmetic. */
#define DEFINE_PRODUCT_WIDE(A) \
	cudaError_t product_wide_##A(product_tile, const product_launch &l, cudaStream_t stream) \
	{ \
		return wide_launcher<A>::launch(l, stream); \
	} \
	cudaError_t product_load_wide_##A(bool *is_here) \
	{ \
		return wide_launcher<A>::load(is_here); \
	}

#endif
