/* SPDX-License-Identifier: MIT */
/*
 * Kernels that begin while what the stream ran before still ends (programmatic dependent launch, compute
 * capability 9.0). Every kernel launched so calls chain_wait() before it reads or writes anything that
 * earlier work of the stream touches, and then chain_start(), so that the next kernel may begin. Hence a
 * kernel that has begun knows that all before its predecessor is done.
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

/* chained: the device can. */
template <typename... P>
static cudaError_t launch_chained(bool chained, void (*kernel)(P...), dim3 grid, unsigned threads,
                                  size_t shared_bytes, cudaStream_t stream, const P &...arguments)
{
	cudaLaunchAttribute attribute = {};
	cudaLaunchConfig_t config = {};

	attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
	attribute.val.programmaticStreamSerializationAllowed = 1;
	config.gridDim = grid;
	config.blockDim = dim3(threads);
	config.dynamicSmemBytes = shared_bytes;
	config.stream = stream;
	config.attrs = &attribute;
	config.numAttrs = chained ? 1 : 0;
	return cudaLaunchKernelEx(&config, kernel, arguments...);
}

#endif
