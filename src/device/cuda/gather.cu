/* SPDX-License-Identifier: MIT */
/* Rows of x, widened and normed, one block a row. */
#include "device/cuda/kernels.h"
#include "device/cuda/numbers.cuh"

#define THREADS 256u

__device__ float block_sum(float value)
{
	__shared__ float of_warp[THREADS / WARP];

	value = warp_sum(value);
	if (threadIdx.x % WARP == 0)
		of_warp[threadIdx.x / WARP] = value;
	__syncthreads();
	float sum = 0.0f;
	for (uint32_t w = 0; w < THREADS / WARP; w++)
		sum += of_warp[w];
	return sum;
}

__global__ void __launch_bounds__(THREADS) gather_rows(ufm_gather_args a)
{
	uint32_t i = blockIdx.x;
	uint64_t row = a.index ? ((const uint32_t *)a.index)[i] : (uint64_t)a.first + i;
	const float *weight = (const float *)a.norm_weight;
	float *out = (float *)a.out + (uint64_t)i * a.d_model;
	float squares = 0.0f, factor = 1.0f;

	for (uint32_t c = threadIdx.x; weight && c < a.d_model; c += THREADS) {
		float x = element_at((const void *)a.x, a.x_dtype, row * a.x_stride + c);
		squares = fmaf(x, x, squares);
	}
	if (weight)
		factor = 1.0f / sqrtf(block_sum(squares) / (float)a.d_model + a.norm_eps);
	for (uint32_t c = threadIdx.x; c < a.d_model; c += THREADS) {
		float x = element_at((const void *)a.x, a.x_dtype, row * a.x_stride + c);
		out[c] = weight ? x * factor * weight[c] : x;
	}
}

cudaError_t kernels_gather(const ufm_gather_args *args, cudaStream_t stream)
{
	gather_rows<<<args->rows, THREADS, 0, stream>>>(*args);
	return cudaGetLastError();
}

cudaError_t kernels_load_gather(void)
{
	cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, gather_rows);
}
