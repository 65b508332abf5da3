/* SPDX-License-Identifier: MIT */
/*
 * Logits, then scores and the top k: two launches; for few tokens one, where the device has clusters (route_few.cu); for
 * many, logits are a product like an expert's (product/product.cuh), in f32.
 *
 * The router's weights are the bulk, and one token must not leave them to a few blocks: every warp
 * takes some rows of them for some tokens, so that a single token is spread over the device. A lane
 * sums the columns that are its own modulo 32 (in groups of V), in rising order, and the lanes' sums
 * are added in one fixed tree: a token's bits do not depend on how many rows and tokens a warp
 * takes, and of many tokens not on how they are cut; on whether the call has few or many, they do.
 */
#include "device/cuda/choose.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"

#define WARPS 4u
#define THREADS (WARPS * WARP)
/* Up to here the scores of a block's tokens fit 48 KiB; above, a block has one token. */
#define SHARED_EXPERTS_MAX 3072u

/* Calls of more tokens have their logits from the tensor cores. */
#define FEW_TOKENS 64u

/* ------------------------------------------------------------------ logits */

/* E rows of weights times T tokens a warp. What lies past the last is computed twice and not
 * written. */
template <uint32_t V, uint32_t E, uint32_t T>
__global__ void __launch_bounds__(THREADS) route_logits(ufm_router_args a)
{
	constexpr uint32_t AT_ONCE = E * T == 1 ? 8 : 2; /* loads of a lane in flight */
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t expert = (blockIdx.y * WARPS + warp) * E, token = blockIdx.x * T;
	const float *weight[E], *x[T];
	float sums[E][T] = {};

	chain_wait();
	chain_start();
	if (expert >= a.experts)
		return;
#pragma unroll
	for (uint32_t e = 0; e < E; e++)
		weight[e] = (const float *)a.weight + (uint64_t)min(expert + e, a.experts - 1) * a.d_model;
#pragma unroll
	for (uint32_t t = 0; t < T; t++)
		x[t] = (const float *)a.x + (uint64_t)min(token + t, a.tokens - 1) * a.d_model;
#pragma unroll AT_ONCE
	for (uint32_t c = lane * V; c < a.d_model; c += WARP * V) {
		float w[E][V];
#pragma unroll
		for (uint32_t e = 0; e < E; e++)
			load_floats<V>(weight[e] + c, w[e]);
#pragma unroll
		for (uint32_t t = 0; t < T; t++) {
			float values[V];
			load_floats<V>(x[t] + c, values);
#pragma unroll
			for (uint32_t e = 0; e < E; e++) {
#pragma unroll
				for (uint32_t i = 0; i < V; i++)
					sums[e][t] = fmaf(w[e][i], values[i], sums[e][t]);
			}
		}
	}
#pragma unroll
	for (uint32_t t = 0; t < T; t++) {
#pragma unroll
		for (uint32_t e = 0; e < E; e++) {
			float logit = warp_sum(sums[e][t]);
			if (lane == 0 && token + t < a.tokens && expert + e < a.experts)
				((float *)a.logits)[(uint64_t)(token + t) * a.experts + expert + e] = logit;
		}
	}
}

template <uint32_t V, uint32_t E, uint32_t T>
static cudaError_t launch_logits(const ufm_router_args *a, bool chained, cudaStream_t stream)
{
	dim3 grid((a->tokens + T - 1) / T, (a->experts + WARPS * E - 1) / (WARPS * E));

	return launch_chained(chained, route_logits<V, E, T>, grid, THREADS, 0, stream, *a);
}

/* Few tokens: as many warps as can be had. */
template <uint32_t V>
static cudaError_t logits_of_few(const ufm_router_args *a, bool chained, cudaStream_t stream)
{
	return a->tokens == 1 ? launch_logits<V, 1, 1>(a, chained, stream)
	                      : launch_logits<V, 1, 4>(a, chained, stream);
}

/* Many tokens are worth the tensor cores: the exact product of f32 weights, whose only expert is the router. The rows of
 * up to so many tokens are cut into entries, or a device would not be filled; the bits are the same. */
#define CUT_BELOW_TOKENS 4096u
#define CUT_ROWS 16u

static cudaError_t logits_of_many(const ufm_router_args *a, bool chained, cudaStream_t stream)
{
	ufm_expert_rows entries[CUT_BELOW_TOKENS / CUT_ROWS];
	uint32_t each = a->tokens < CUT_BELOW_TOKENS ? CUT_ROWS : a->tokens, count = 0;
	product_args args = {};

	for (uint32_t row = 0; row < a->tokens; row += each)
		entries[count++] = {a->weight, row, min(each, a->tokens - row)};
	args.entries = entries;
	args.entry_count = count;
	args.entries_known = true;
	args.math = UFM_MATH_FP32;
	args.dtype = UFM_F32;
	args.units = a->experts;
	args.columns = a->d_model;
	args.bias = args.gate = args.gate_bias = PRODUCT_NONE;
	args.x = (const void *)a->x;
	args.out = (void *)a->logits;
	return kernels_product(&args, chained, stream);
}

/* ------------------------------------------------------------------ experts */

/* A warp a token. */
__global__ void __launch_bounds__(THREADS) route_choose(ufm_router_args a)
{
	extern __shared__ float scores_of_block[];
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t token = blockIdx.x * (blockDim.x / WARP) + warp;
	float *scores = scores_of_block + (uint64_t)warp * a.experts;

	chain_wait();
	chain_start();
	if (token >= a.tokens)
		return;
	for (uint32_t e = lane; e < a.experts; e += WARP)
		scores[e] = ((const float *)a.logits)[(uint64_t)token * a.experts + e];
	score_and_choose(a, token, scores, lane);
}

/* The bits of a token's logits depend on who computes them, so that is decided by the whole call. */
cudaError_t kernels_route(const ufm_router_args *args, bool chained, cudaStream_t stream)
{
	bool wide = args->d_model % 4 == 0 && args->x % 16 == 0 && args->weight % 16 == 0;
	uint32_t warps = args->experts <= SHARED_EXPERTS_MAX && args->tokens > 1 ? WARPS : 1;
	uint32_t of_call = args->call_tokens ? args->call_tokens : args->tokens;
	route_few_args few = {{}, *args, {}};

	/* x as it is: rows that are nowhere written again */
	few.gather.x = args->x;
	few.gather.x_stride = few.gather.d_model = args->d_model;
	few.gather.x_dtype = UFM_F32;
	if (kernels_route_few_fits(&few, chained))
		return kernels_route_few(&few, chained, stream);
	cudaError_t error = !wide                  ? logits_of_few<1>(args, chained, stream)
	                    : of_call > FEW_TOKENS ? logits_of_many(args, chained, stream)
	                                           : logits_of_few<4>(args, chained, stream);

	if (error)
		return error;
	return launch_chained(chained, route_choose, dim3((args->tokens + warps - 1) / warps),
	                      warps * WARP, (size_t)warps * args->experts * sizeof(float), stream,
	                      *args);
}

template <uint32_t V> static cudaError_t load_logits(void)
{
	cudaFuncAttributes attributes;
	cudaError_t error = cudaFuncGetAttributes(&attributes, route_logits<V, 1, 1>);

	return error ? error : cudaFuncGetAttributes(&attributes, route_logits<V, 1, 4>);
}

cudaError_t kernels_load_route(uint32_t *experts_max)
{
	int shared_bytes = 0;
	cudaError_t error = shared_bytes_most(&shared_bytes);

	if (!error)
		error = load_logits<4>();
	if (!error)
		error = load_logits<1>();
	if (!error)
		error = load_kernel(route_choose, shared_bytes);
	*experts_max = (uint32_t)shared_bytes / sizeof(float);
	return error;
}
