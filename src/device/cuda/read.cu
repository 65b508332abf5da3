/* SPDX-License-Identifier: MIT */
/* Device memory read once, at its full rate. */
#include "device/cuda/kernels.h"
#include "device/cuda/numbers.cuh"

#define THREADS 256u
#define BLOCKS_A_UNIT 8u /* all that a multiprocessor holds */
#define LOADS 8u         /* of 16 bytes, in flight in each thread */

__device__ inline uint32_t xor_of(uint4 v)
{
	return v.x ^ v.y ^ v.z ^ v.w;
}

/* Each line of memory is wanted once: it need not stay in a cache. */
__global__ void __launch_bounds__(THREADS)
	read_words(const uint4 *__restrict__ in, uint64_t count, uint32_t *out)
{
	__shared__ uint32_t of_block;
	uint64_t stride = (uint64_t)gridDim.x * THREADS;
	uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
	uint32_t sum = 0;

	if (threadIdx.x == 0)
		of_block = 0;
	__syncthreads();
	for (; i + (LOADS - 1) * stride < count; i += LOADS * stride) {
		uint4 v[LOADS];
#pragma unroll
		for (uint32_t j = 0; j < LOADS; j++)
			v[j] = __ldcs(in + i + j * stride);
#pragma unroll
		for (uint32_t j = 0; j < LOADS; j++)
			sum ^= xor_of(v[j]);
	}
	for (; i < count; i += stride)
		sum ^= xor_of(__ldcs(in + i));
	sum = __reduce_xor_sync(ALL_LANES, sum);
	if (threadIdx.x % WARP == 0)
		atomicXor(&of_block, sum);
	__syncthreads();
	if (threadIdx.x == 0)
		atomicXor(out, of_block);
}

cudaError_t kernels_read(const read_args *args, bool, cudaStream_t stream)
{
	uint64_t count = args->size_bytes / sizeof(uint4);
	uint64_t wanted = (count + THREADS - 1) / THREADS, most = args->units * BLOCKS_A_UNIT;
	cudaError_t error = cudaMemsetAsync((void *)args->out, 0, sizeof(uint32_t), stream);

	if (error || count == 0)
		return error;
	read_words<<<(uint32_t)(wanted < most ? wanted : most), THREADS, 0, stream>>>(
		(const uint4 *)args->at, count, (uint32_t *)args->out);
	return cudaGetLastError();
}

cudaError_t kernels_load_read(void)
{
	cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, read_words);
}
