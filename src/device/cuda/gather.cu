/* SPDX-License-Identifier: MIT */
/*
 * Rows of x, widened and normed, one block a row. A thread has the groups of four columns that are
 * its own modulo THREADS; the first few stay in registers between the sum and the norm. The sum's
 * order is a function of the width alone, however the columns are read.
 */
#include "device/cuda/columns.cuh"
#include "device/cuda/few_rows.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"

#define THREADS 256u
#define HELD 2u /* of those groups that a thread keeps */

__device__ float add_squares(const columns &g, float sum)
{
#pragma unroll
	for (uint32_t i = 0; i < COLUMNS; i++)
		sum = fmaf(g.value[i], g.value[i], sum);
	return sum;
}

__device__ columns normed(columns g, float factor, const columns &weight)
{
#pragma unroll
	for (uint32_t i = 0; i < COLUMNS; i++)
		g.value[i] = g.value[i] * factor * weight.value[i];
	return g;
}

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

template <bool WIDE, bool NORM, bool HALF>
__global__ void __launch_bounds__(THREADS)
	gather_rows(const ufm_gather_args a, const __grid_constant__ few_rows few)
{
	uint32_t i = blockIdx.x, first = COLUMNS * threadIdx.x;
	const void *x = (const void *)a.x, *norm = (const void *)a.norm_weight;
	float squares = 0.0f, factor = 1.0f;
	uint64_t to = (uint64_t)i * a.d_model;
	columns held[HELD], weight[HELD];

	chain_wait();
	chain_start();
	uint64_t row = a.few_index ? few.row[i]
	               : a.index   ? ((const uint32_t *)a.index)[i]
	                           : (uint64_t)a.first + i;
	uint64_t at = row * a.x_stride;
#pragma unroll
	for (uint32_t h = 0; h < HELD; h++) {
		uint32_t c = first + h * COLUMNS * THREADS;
		held[h] = columns_load<WIDE>(x, a.x_dtype, at, c, a.d_model);
		if (NORM)
			weight[h] = columns_load<WIDE>(norm, UFM_F32, 0, c, a.d_model);
	}
	if (NORM) {
#pragma unroll
		for (uint32_t h = 0; h < HELD; h++)
			squares = add_squares(held[h], squares);
		for (uint32_t c = first + HELD * COLUMNS * THREADS; c < a.d_model; c += COLUMNS * THREADS)
			squares = add_squares(columns_load<WIDE>(x, a.x_dtype, at, c, a.d_model), squares);
		factor = 1.0f / sqrtf(block_sum(squares) / (float)a.d_model + a.norm_eps);
	}
#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		columns_store<WIDE>((void *)a.out, HALF ? UFM_BF16 : UFM_F32, to,
		                    first + h * COLUMNS * THREADS, a.d_model,
		                    NORM ? normed(held[h], factor, weight[h]) : held[h]);
	for (uint32_t c = first + HELD * COLUMNS * THREADS; c < a.d_model; c += COLUMNS * THREADS) {
		columns g = columns_load<WIDE>(x, a.x_dtype, at, c, a.d_model);
		if (NORM)
			g = normed(g, factor, columns_load<WIDE>(norm, UFM_F32, 0, c, a.d_model));
		columns_store<WIDE>((void *)a.out, HALF ? UFM_BF16 : UFM_F32, to, c, a.d_model, g);
	}
}

template <bool WIDE, bool NORM, bool HALF>
static cudaError_t launch(const ufm_gather_args *args, bool chained, cudaStream_t stream)
{
	return launch_chained(chained, gather_rows<WIDE, NORM, HALF>, dim3(args->rows), THREADS, 0,
	                      stream, *args, few_rows_of(args->few_index, args->rows));
}

template <bool WIDE>
static cudaError_t launch_any(const ufm_gather_args *args, bool chained, cudaStream_t stream)
{
	if (args->out_dtype == UFM_BF16)
		return args->norm_weight ? launch<WIDE, true, true>(args, chained, stream)
		                         : launch<WIDE, false, true>(args, chained, stream);
	return args->norm_weight ? launch<WIDE, true, false>(args, chained, stream)
	                         : launch<WIDE, false, false>(args, chained, stream);
}

cudaError_t kernels_gather(const ufm_gather_args *args, bool chained, cudaStream_t stream)
{
	bool wide = columns_are_wide(args->x, args->x_dtype, args->x_stride, args->d_model) &&
	            args->out % 16 == 0 && args->norm_weight % 16 == 0;

	return wide ? launch_any<true>(args, chained, stream)
	            : launch_any<false>(args, chained, stream);
}

template <bool WIDE> static cudaError_t load_code(void)
{
	cudaFuncAttributes attributes;
	cudaError_t error = cudaFuncGetAttributes(&attributes, gather_rows<WIDE, true, false>);

	if (!error)
		error = cudaFuncGetAttributes(&attributes, gather_rows<WIDE, false, false>);
	if (!error)
		error = cudaFuncGetAttributes(&attributes, gather_rows<WIDE, true, true>);
	return error ? error : cudaFuncGetAttributes(&attributes, gather_rows<WIDE, false, true>);
}

cudaError_t kernels_load_gather(void)
{
	cudaError_t error = load_code<true>();

	return error ? error : load_code<false>();
}
