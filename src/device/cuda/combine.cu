/* SPDX-License-Identifier: MIT */
/* The weighted sum of a token's rows, in router order. */
#include "device/cuda/kernels.h"
#include "device/cuda/numbers.cuh"

#define THREADS 256u

__global__ void __launch_bounds__(THREADS) combine_tokens(ufm_combine_args a)
{
	uint32_t token = blockIdx.x, c = blockIdx.y * THREADS + threadIdx.x;
	const uint32_t *row_of = (const uint32_t *)a.row_of + (uint64_t)token * a.top_k;
	const float *gates = (const float *)a.gates + (uint64_t)token * a.top_k;
	bool empty = !a.residual;

	if (c >= a.d_model)
		return;
	/* -0 + p has the bits of p for every p: the sum starts as the first product */
	float sum = -0.0f;
	if (a.residual)
		sum = element_at((const void *)a.residual, a.residual_dtype, token * a.residual_stride + c);
	for (uint32_t j = 0; j < a.top_k; j++) {
		if (row_of[j] == UFM_ROW_NONE)
			continue;
		float row = ((const float *)a.rows)[(uint64_t)row_of[j] * a.d_model + c];
		sum = __fadd_rn(sum, __fmul_rn(gates[j], row));
		empty = false;
	}
	element_put((void *)a.y, a.y_dtype, token * a.y_stride + c, empty ? 0.0f : sum);
}

cudaError_t kernels_combine(const ufm_combine_args *args, cudaStream_t stream)
{
	dim3 grid(args->tokens, (args->d_model + THREADS - 1) / THREADS);

	combine_tokens<<<grid, THREADS, 0, stream>>>(*args);
	return cudaGetLastError();
}

cudaError_t kernels_load_combine(void)
{
	cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, combine_tokens);
}
