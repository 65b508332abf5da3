/* SPDX-License-Identifier: MIT */
/* Rows of x, widened and normed (norm.cuh), one block a row. The first groups of a thread stay in registers between the sum
 * and the norm. */
#include "device/cuda/few_rows.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/norm.cuh"

#define HELD 2u /* of its groups that a thread keeps */

template <bool WIDE, bool NORM, bool HALF>
__global__ void __launch_bounds__(NORM_THREADS)
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
		uint32_t c = first + h * NORM_STEP;
		held[h] = columns_load<WIDE>(x, a.x_dtype, at, c, a.d_model);
		if (NORM)
			weight[h] = columns_load<WIDE>(norm, UFM_F32, 0, c, a.d_model);
	}
	if (NORM) {
#pragma unroll
		for (uint32_t h = 0; h < HELD; h++)
			squares = add_squares(held[h], squares);
		for (uint32_t c = first + HELD * NORM_STEP; c < a.d_model; c += NORM_STEP)
			squares = add_squares(columns_load<WIDE>(x, a.x_dtype, at, c, a.d_model), squares);
		factor = norm_factor(squares, a.d_model, a.norm_eps);
	}
#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		columns_store<WIDE>((void *)a.out, HALF ? UFM_BF16 : UFM_F32, to, first + h * NORM_STEP,
		                    a.d_model, NORM ? normed(held[h], factor, weight[h]) : held[h]);
	for (uint32_t c = first + HELD * NORM_STEP; c < a.d_model; c += NORM_STEP) {
		columns g = columns_load<WIDE>(x, a.x_dtype, at, c, a.d_model);
		if (NORM)
			g = normed(g, factor, columns_load<WIDE>(norm, UFM_F32, 0, c, a.d_model));
		columns_store<WIDE>((void *)a.out, HALF ? UFM_BF16 : UFM_F32, to, c, a.d_model, g);
	}
}

template <bool WIDE, bool NORM, bool HALF>
static cudaError_t launch(const ufm_gather_args *args, bool chained, cudaStream_t stream)
{
	return launch_chained(chained, gather_rows<WIDE, NORM, HALF>, dim3(args->rows), NORM_THREADS, 0,
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
