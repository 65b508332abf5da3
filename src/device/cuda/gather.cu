/* SPDX-License-Identifier: MIT */
/*
 * Rows of x, widened and normed, one block a row. A thread has the groups of four columns that are
 * its own modulo THREADS; the first few stay in registers between the sum and the norm. The sum's
 * order is a function of the width alone, however the columns are read.
 */
#include "device/cuda/few_rows.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"

#define THREADS 256u
#define GROUP 4u
#define HELD 2u /* groups that a thread keeps */

typedef struct group {
	float value[GROUP];
} group;

/* Columns from c on; 0 past the last. */
template <bool WIDE>
__device__ group load_group(const void *base, ufm_dtype dtype, uint64_t at, uint32_t c,
                            uint32_t d_model)
{
	group g = {};

	if (WIDE && c < d_model && dtype == UFM_F32) {
		float4 four = *(const float4 *)((const float *)base + at + c);
		g = {{four.x, four.y, four.z, four.w}};
	} else if (WIDE && c < d_model) {
		uint2 two = *(const uint2 *)((const uint16_t *)base + at + c);
		g = {{half_widen(two.x, dtype), half_widen(two.x >> 16, dtype), half_widen(two.y, dtype),
		      half_widen(two.y >> 16, dtype)}};
	} else {
#pragma unroll
		for (uint32_t i = 0; i < GROUP; i++)
			if (c + i < d_model)
				g.value[i] = element_at(base, dtype, at + c + i);
	}
	return g;
}

template <bool WIDE>
__device__ void store_group(float *out, uint32_t c, uint32_t d_model, const group &g)
{
	if (WIDE && c < d_model) {
		*(float4 *)(out + c) = make_float4(g.value[0], g.value[1], g.value[2], g.value[3]);
		return;
	}
#pragma unroll
	for (uint32_t i = 0; i < GROUP; i++)
		if (c + i < d_model)
			out[c + i] = g.value[i];
}

__device__ float add_squares(const group &g, float sum)
{
#pragma unroll
	for (uint32_t i = 0; i < GROUP; i++)
		sum = fmaf(g.value[i], g.value[i], sum);
	return sum;
}

__device__ group normed(group g, float factor, const group &weight)
{
#pragma unroll
	for (uint32_t i = 0; i < GROUP; i++)
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

template <bool WIDE, bool NORM>
__global__ void __launch_bounds__(THREADS)
	gather_rows(const ufm_gather_args a, const __grid_constant__ few_rows few)
{
	uint32_t i = blockIdx.x, first = GROUP * threadIdx.x;
	const void *x = (const void *)a.x, *norm = (const void *)a.norm_weight;
	float *out = (float *)a.out + (uint64_t)i * a.d_model, squares = 0.0f, factor = 1.0f;
	group held[HELD], weight[HELD];

	chain_wait();
	chain_start();
	uint64_t row = a.few_index ? few.row[i]
	               : a.index   ? ((const uint32_t *)a.index)[i]
	                           : (uint64_t)a.first + i;
	uint64_t at = row * a.x_stride;
#pragma unroll
	for (uint32_t h = 0; h < HELD; h++) {
		uint32_t c = first + h * GROUP * THREADS;
		held[h] = load_group<WIDE>(x, a.x_dtype, at, c, a.d_model);
		if (NORM)
			weight[h] = load_group<WIDE>(norm, UFM_F32, 0, c, a.d_model);
	}
	if (NORM) {
#pragma unroll
		for (uint32_t h = 0; h < HELD; h++)
			squares = add_squares(held[h], squares);
		for (uint32_t c = first + HELD * GROUP * THREADS; c < a.d_model; c += GROUP * THREADS)
			squares = add_squares(load_group<WIDE>(x, a.x_dtype, at, c, a.d_model), squares);
		factor = 1.0f / sqrtf(block_sum(squares) / (float)a.d_model + a.norm_eps);
	}
#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		store_group<WIDE>(out, first + h * GROUP * THREADS, a.d_model,
		                  NORM ? normed(held[h], factor, weight[h]) : held[h]);
	for (uint32_t c = first + HELD * GROUP * THREADS; c < a.d_model; c += GROUP * THREADS) {
		group g = load_group<WIDE>(x, a.x_dtype, at, c, a.d_model);
		if (NORM)
			g = normed(g, factor, load_group<WIDE>(norm, UFM_F32, 0, c, a.d_model));
		store_group<WIDE>(out, c, a.d_model, g);
	}
}

template <bool WIDE>
static cudaError_t launch(const ufm_gather_args *args, bool chained, cudaStream_t stream)
{
	return launch_chained(
		chained, args->norm_weight ? gather_rows<WIDE, true> : gather_rows<WIDE, false>,
		dim3(args->rows), THREADS, 0, stream, *args, few_rows_of(args->few_index, args->rows));
}

cudaError_t kernels_gather(const ufm_gather_args *args, bool chained, cudaStream_t stream)
{
	uint64_t x_align = args->x_dtype == UFM_F32 ? 16 : 8;
	bool wide = args->d_model % GROUP == 0 && args->x_stride % GROUP == 0 &&
	            args->x % x_align == 0 && args->out % 16 == 0 && args->norm_weight % 16 == 0;

	return wide ? launch<true>(args, chained, stream) : launch<false>(args, chained, stream);
}

template <bool WIDE> static cudaError_t load_code(void)
{
	cudaFuncAttributes attributes;
	cudaError_t error = cudaFuncGetAttributes(&attributes, gather_rows<WIDE, true>);

	return error ? error : cudaFuncGetAttributes(&attributes, gather_rows<WIDE, false>);
}

cudaError_t kernels_load_gather(void)
{
	cudaError_t error = load_code<true>();

	return error ? error : load_code<false>();
}
