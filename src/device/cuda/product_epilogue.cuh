/* SPDX-License-Identifier: MIT */
/* What becomes of a finished sum: bias, activation, gate. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_EPILOGUE_CUH
#define UFM_DEVICE_CUDA_PRODUCT_EPILOGUE_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product.cuh"

__device__ inline float act_gelu(float x)
{
	return x * normcdff(x);
}

__device__ inline float act_silu(float x)
{
	return x / (1.0f + expf(-x));
}

template <class A>
__device__ float with_bias(const char *block, uint64_t bias, uint32_t unit, float sum)
{
	return bias == PRODUCT_NONE ? sum : sum + element_at(block + bias, A::dtype, unit);
}

template <class A>
__device__ float finish(const product &p, const char *block, uint32_t unit, float sum)
{
	float value = with_bias<A>(block, p.bias, unit, sum);

	if (p.epilogue == PRODUCT_GELU)
		return act_gelu(value);
	return p.epilogue == PRODUCT_SILU ? act_silu(value) : value;
}

template <class A>
__device__ float finish_gated(const product &p, const char *block, uint32_t unit, float gate_sum,
                              float up_sum)
{
	float gate = with_bias<A>(block, p.gate_bias, unit, gate_sum);
	float up = with_bias<A>(block, p.bias, unit, up_sum);

	return (p.epilogue == PRODUCT_GATED_SILU ? act_silu(gate) : act_gelu(gate)) * up;
}

#endif
