/* SPDX-License-Identifier: MIT */
/* The weighted sum of a token's rows, in router order. */
#include "device/cuda/few_rows.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"

#define THREADS 128u
#define AT_ONCE 8u /* rows of a token that are under way together */

__device__ float value_at(const ufm_combine_args &a, uint32_t row, uint32_t c)
{
	return ((const float *)a.rows)[(uint64_t)row * a.d_model + c];
}

__global__ void __launch_bounds__(THREADS)
	combine_tokens(const ufm_combine_args a, const __grid_constant__ few_rows few)
{
	uint32_t token = blockIdx.x, c = blockIdx.y * THREADS + threadIdx.x;
	uint64_t at = (uint64_t)token * a.top_k;
	const uint32_t *row_of = a.few_row_of ? few.row + at : (const uint32_t *)a.row_of + at;
	const float *gates = (const float *)a.gates + at;
	bool empty = !a.residual;

	chain_wait();
	chain_start();
	if (c >= a.d_model)
		return;
	/* -0 + p has the bits of p for every p: the sum starts as the first product */
	float sum = -0.0f;
	if (a.residual)
		sum = element_at((const void *)a.residual, a.residual_dtype, token * a.residual_stride + c);
	for (uint32_t first = 0; first < a.top_k; first += AT_ONCE) {
		uint32_t rows[AT_ONCE];
		float products[AT_ONCE];
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++)
			rows[j] = first + j < a.top_k ? row_of[first + j] : UFM_ROW_NONE;
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++)
			products[j] = rows[j] == UFM_ROW_NONE
			                  ? 0.0f
			                  : __fmul_rn(gates[first + j], value_at(a, rows[j], c));
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++) {
			sum = rows[j] == UFM_ROW_NONE ? sum : __fadd_rn(sum, products[j]);
			empty = empty && rows[j] == UFM_ROW_NONE;
		}
	}
	element_put((void *)a.y, a.y_dtype, token * a.y_stride + c, empty ? 0.0f : sum);
}

cudaError_t kernels_combine(const ufm_combine_args *args, bool chained, cudaStream_t stream)
{
	dim3 grid(args->tokens, (args->d_model + THREADS - 1) / THREADS);

	return launch_chained(chained, combine_tokens, grid, THREADS, 0, stream, *args,
	                      few_rows_of(args->few_row_of, args->tokens * args->top_k));
}

cudaError_t kernels_load_combine(void)
{
	cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, combine_tokens);
}
