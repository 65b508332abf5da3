/* SPDX-License-Identifier: MIT */
/* The norm of a row, whoever computes it: the sum of squares has one order, that of NORM_THREADS threads which have the
 * groups of four columns that are their own modulo NORM_THREADS. */
#ifndef UFM_DEVICE_CUDA_NORM_CUH
#define UFM_DEVICE_CUDA_NORM_CUH

#include "device/cuda/columns.cuh"

#define NORM_THREADS 256u
#define NORM_STEP (COLUMNS * NORM_THREADS) /* columns between two groups of a thread */

__device__ inline float add_squares(const columns &g, float sum)
{
#pragma unroll
	for (uint32_t i = 0; i < COLUMNS; i++)
		sum = fmaf(g.value[i], g.value[i], sum);
	return sum;
}

__device__ inline columns normed(columns g, float factor, const columns &weight)
{
#pragma unroll
	for (uint32_t i = 0; i < COLUMNS; i++)
		g.value[i] = g.value[i] * factor * weight.value[i];
	return g;
}

/* Every thread of the block calls it; the values of the first NORM_THREADS count. */
__device__ inline float norm_factor(float squares, uint32_t d_model, float eps)
{
	__shared__ float of_warp[NORM_THREADS / WARP];

	squares = warp_sum(squares);
	if (threadIdx.x < NORM_THREADS && threadIdx.x % WARP == 0)
		of_warp[threadIdx.x / WARP] = squares;
	__syncthreads();
	float sum = 0.0f;
	for (uint32_t w = 0; w < NORM_THREADS / WARP; w++)
		sum += of_warp[w];
	return 1.0f / sqrtf(sum / (float)d_model + eps);
}

#endif
