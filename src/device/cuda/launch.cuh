/* SPDX-License-Identifier: MIT */
/*
 * Kernels that begin while what the stream ran before still ends (programmatic dependent launch,
 * compute capability 9.0). Every kernel launched so calls chain_wait() before it reads or writes
 * anything that earlier work of the stream touches, and then chain_start(), so that the next kernel
 * may begin. Hence a kernel that has begun knows that all before its predecessor is done. (Kernels
 * of one product, which run beside each other, count as one predecessor: product/order.cuh.)
 */
#ifndef UFM_DEVICE_CUDA_LAUNCH_CUH
#define UFM_DEVICE_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>

__device__ inline void chain_wait(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ inline void chain_start(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/* cluster: blocks that run together and see each other's shared memory; 0: each by itself. A device
 * that can chain has clusters too. */
template <typename... P>
static cudaError_t launch_clusters(bool chained, unsigned cluster, void (*kernel)(P...), dim3 grid,
                                   unsigned threads, size_t shared_bytes, cudaStream_t stream,
                                   const P &...arguments)
{
	cudaLaunchAttribute attributes[2] = {};
	cudaLaunchConfig_t config = {};

	attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
	attributes[0].val.programmaticStreamSerializationAllowed = 1;
	attributes[1].id = cudaLaunchAttributeClusterDimension;
	attributes[1].val.clusterDim.x = cluster;
	attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
	config.gridDim = grid;
	config.blockDim = dim3(threads);
	config.dynamicSmemBytes = shared_bytes;
	config.stream = stream;
	config.attrs = attributes;
	config.numAttrs = !chained ? 0 : cluster ? 2 : 1;
	return cudaLaunchKernelEx(&config, kernel, arguments...);
}

/* chained: the device can. */
template <typename... P>
static cudaError_t launch_chained(bool chained, void (*kernel)(P...), dim3 grid, unsigned threads,
                                  size_t shared_bytes, cudaStream_t stream, const P &...arguments)
{
	return launch_clusters(chained, 0, kernel, grid, threads, shared_bytes, stream, arguments...);
}

/* Shared memory that a launch on the current device may ask for, at most. */
static inline cudaError_t shared_bytes_most(int *bytes)
{
	int device = 0;
	cudaError_t error = cudaGetDevice(&device);

	return error ? error
	             : cudaDeviceGetAttribute(bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

/* Loads a kernel, whose launches may ask for so much of it. */
template <class K> static cudaError_t load_kernel(K *kernel, size_t shared_bytes)
{
	return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
	                            (int)shared_bytes);
}

#endif
