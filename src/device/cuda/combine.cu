/* SPDX-License-Identifier: MIT */
/* The weighted sum of a token's rows, in router order. */
#include "device/cuda/columns.cuh"
#include "device/cuda/few_rows.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"

#define THREADS 128u
#define AT_ONCE 8u /* rows of a token that are under way together */

/* Every element is summed by itself, in router order. */
template <bool WIDE>
__global__ void __launch_bounds__(THREADS)
	combine_tokens(const ufm_combine_args a, const __grid_constant__ few_rows few)
{
	uint32_t token = blockIdx.x, c = (blockIdx.y * THREADS + threadIdx.x) * COLUMNS;
	uint64_t at = (uint64_t)token * a.top_k;
	const uint32_t *row_of = a.few_row_of ? few.row + at : (const uint32_t *)a.row_of + at;
	const float *gates = (const float *)a.gates + at;
	bool empty = !a.residual;

	chain_wait();
	chain_start();
	if (c >= a.d_model)
		return;
	/* -0 + p has the bits of p for every p: the sum starts as the first product */
	columns sum = {{-0.0f, -0.0f, -0.0f, -0.0f}};
	if (a.residual)
		sum = columns_load<WIDE>((const void *)a.residual, a.residual_dtype,
		                         token * a.residual_stride, c, a.d_model);
	for (uint32_t first = 0; first < a.top_k; first += AT_ONCE) {
		uint32_t rows[AT_ONCE];
		columns values[AT_ONCE];
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++)
			rows[j] = first + j < a.top_k ? row_of[first + j] : UFM_ROW_NONE;
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++)
			if (rows[j] != UFM_ROW_NONE)
				values[j] = columns_load<WIDE>((const void *)a.rows, UFM_F32,
				                               (uint64_t)rows[j] * a.d_model, c, a.d_model);
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++) {
			if (rows[j] == UFM_ROW_NONE)
				continue;
			empty = false;
#pragma unroll
			for (uint32_t i = 0; i < COLUMNS; i++)
				sum.value[i] =
					__fadd_rn(sum.value[i], __fmul_rn(gates[first + j], values[j].value[i]));
		}
	}
	columns_store<WIDE>((void *)a.y, a.y_dtype, token * a.y_stride, c, a.d_model,
	                    empty ? columns{} : sum);
}

cudaError_t kernels_combine(const ufm_combine_args *args, bool chained, cudaStream_t stream)
{
	uint32_t columns_a_block = THREADS * COLUMNS, d_model = args->d_model;
	dim3 grid(args->tokens, (d_model + columns_a_block - 1) / columns_a_block);
	bool wide = columns_are_wide(args->rows, UFM_F32, d_model, d_model) &&
	            columns_are_wide(args->y, args->y_dtype, args->y_stride, d_model) &&
	            (!args->residual || columns_are_wide(args->residual, args->residual_dtype,
	                                                 args->residual_stride, d_model));

	return launch_chained(chained, wide ? combine_tokens<true> : combine_tokens<false>, grid,
	                      THREADS, 0, stream, *args,
	                      few_rows_of(args->few_row_of, args->tokens * args->top_k));
}

cudaError_t kernels_load_combine(void)
{
	cudaFuncAttributes attributes;
	cudaError_t error = cudaFuncGetAttributes(&attributes, combine_tokens<true>);

	return error ? error : cudaFuncGetAttributes(&attributes, combine_tokens<false>);
}
