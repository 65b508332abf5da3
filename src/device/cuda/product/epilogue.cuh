/* SPDX-License-Identifier: MIT */
/* What becomes of a finished sum: bias, activation, gate and the parameters of a gated expert. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_EPILOGUE_CUH
#define UFM_DEVICE_CUDA_PRODUCT_EPILOGUE_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product/product.cuh"

__device__ inline float act_gelu(float x)
{
	return x * normcdff(x);
}

__device__ inline float act_silu(float x, float alpha)
{
	return x / (1.0f + expf(-alpha * x));
}

/* x/2 * (1 + tanh(u)) is x * sigmoid(2u); 1.5957… is 2 sqrt(2/pi). */
__device__ inline float act_gelu_tanh(float x)
{
	return x / (1.0f + expf(-1.59576912f * x * fmaf(0.044715f * x, x, 1.0f)));
}

__device__ inline float act_relu2(float x)
{
	return x < 0.0f ? 0.0f : x * x;
}

__device__ inline float activated(const product_finish &f, float x)
{
	switch (f.activation) {
	case UFM_ACT_GELU:
		return act_gelu(x);
	case UFM_ACT_SILU:
		return act_silu(x, f.alpha);
	case UFM_ACT_GELU_TANH:
		return act_gelu_tanh(x);
	case UFM_ACT_RELU2:
		return act_relu2(x);
	}
	return x;
}

/* Limits that keep a NaN, which fminf would not. */
__device__ inline float not_above(float x, float limit)
{
	return x > limit ? limit : x;
}

__device__ inline float within(float x, float limit)
{
	return x < -limit ? -limit : not_above(x, limit);
}

/* g * u (ufm_expert_desc) */
__device__ inline float gated(const product_finish &f, float gate, float up)
{
	if (f.adjusted) {
		gate = not_above(gate, f.gate_limit);
		up = within(up, f.up_limit) + f.up_offset;
	}
	float g = activated(f, gate);
	return (f.adjusted ? not_above(g, f.activated_limit) : g) * up;
}

template <class A>
__device__ float with_bias(const char *block, uint64_t bias, uint32_t unit, float sum)
{
	return bias == PRODUCT_NONE ? sum : sum + element_at(block + bias, A::dtype, unit);
}

template <class A>
__device__ float finish(const product &p, const char *block, uint32_t unit, float sum)
{
	return activated(p.finish, with_bias<A>(block, p.bias, unit, sum));
}

template <class A>
__device__ float finish_gated(const product &p, const char *block, uint32_t unit, float gate_sum,
                              float up_sum)
{
	return gated(p.finish, with_bias<A>(block, p.gate_bias, unit, gate_sum),
	             with_bias<A>(block, p.bias, unit, up_sum));
}

/* Rounded already, where the arithmetic of the next product would do it. */
template <class A>
__device__ void store_out(const product &p, uint64_t row, uint32_t unit, float value)
{
	uint64_t at = row * p.units + unit;

	if (A::halves && p.out_half)
		((uint16_t *)p.out)[at] = (uint16_t)pack_bf16(value, 0.0f);
	else
		((float *)p.out)[at] = value;
}

#endif
