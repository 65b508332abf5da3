/* SPDX-License-Identifier: MIT */
/*
 * Logits, then scores and the top k: two launches, or for few tokens one, of a cluster of blocks
 * for each; for many, logits are a product like an expert's (product/product.cuh), in f32.
 *
 * The router's weights are the bulk, and one token must not leave them to a few blocks: every warp
 * takes some rows of them for some tokens, so that a single token is spread over the device. A lane
 * sums the columns that are its own modulo 32 (in groups of V), in rising order, and the lanes' sums
 * are added in one fixed tree: a token's bits do not depend on how many rows and tokens a warp
 * takes, and of many tokens not on how they are cut; on whether the call has few or many, they do.
 */
#include <cooperative_groups.h>

#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"

#define WARPS 4u
#define THREADS (WARPS * WARP)
/* Up to here the scores of a block's tokens fit 48 KiB; above, a block has one token. */
#define SHARED_EXPERTS_MAX 3072u

/* One launch: so many blocks a token, up to so many tokens. */
#define CLUSTER 8u
#define CLUSTER_WARPS 16u
#define CLUSTER_TOKENS 8u

/* Calls of more tokens have their logits from the tensor cores. */
#define FEW_TOKENS 64u

#define CHOSEN (-1.0f) /* no score is negative */

/* ------------------------------------------------------------------ logits */

template <uint32_t V> __device__ void load(const float *at, float (&out)[V])
{
	if constexpr (V == 4) {
		float4 four = *(const float4 *)at;
		out[0] = four.x;
		out[1] = four.y;
		out[2] = four.z;
		out[3] = four.w;
	} else {
		out[0] = *at;
	}
}

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
			load<V>(weight[e] + c, w[e]);
#pragma unroll
		for (uint32_t t = 0; t < T; t++) {
			float values[V];
			load<V>(x[t] + c, values);
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

/* ------------------------------------------------------------------ scores */

__device__ float warp_max(float value)
{
#pragma unroll
	for (uint32_t offset = WARP / 2; offset; offset /= 2)
		value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, offset));
	return value;
}

/* A NaN counts neither for the maximum nor for the sum, and stays a NaN. A lane's values are its
 * own modulo 32, here and below. */
__device__ void softmax(float *values, uint32_t count, uint32_t lane)
{
	float largest = -INFINITY, sum = 0.0f;

	for (uint32_t i = lane; i < count; i += WARP)
		largest = values[i] > largest ? values[i] : largest;
	largest = warp_max(largest);
	for (uint32_t i = lane; i < count; i += WARP) {
		values[i] = expf(values[i] - largest);
		sum += isnan(values[i]) ? 0.0f : values[i];
	}
	sum = warp_sum(sum);
	for (uint32_t i = lane; i < count; i += WARP)
		values[i] /= sum;
}

__device__ void sigmoid(float *values, uint32_t count, uint32_t lane)
{
	for (uint32_t i = lane; i < count; i += WARP)
		values[i] = 1.0f / (1.0f + expf(-values[i]));
}

/* ------------------------------------------------------------------ top k */

/* Two numbers that rank a candidate, compared one after the other: larger score, then lower id. A
 * NaN is behind every number, and both 0 behind all. Scores are not negative, so their bits rank as
 * they do. */
typedef struct candidate {
	uint32_t score, id;
} candidate;

__device__ uint32_t warp_max_bits(uint32_t value)
{
#if __CUDA_ARCH__ >= 800
	return __reduce_max_sync(ALL_LANES, value);
#else
#pragma unroll
	for (uint32_t offset = WARP / 2; offset; offset /= 2)
		value = max(value, __shfl_xor_sync(ALL_LANES, value, offset));
	return value;
#endif
}

__device__ candidate rank_of(float score, uint32_t expert)
{
	if (score == CHOSEN)
		return {0, 0};
	return {isnan(score) ? 0 : __float_as_uint(score) + 1, ~expert};
}

/* The best of a lane's own experts. */
__device__ candidate best_of_lane(const float *scores, uint32_t count, uint32_t lane)
{
	candidate best = {0, 0};

	for (uint32_t e = lane; e < count; e += WARP) {
		candidate here = rank_of(scores[e], e);
		if (here.score > best.score || (here.score == best.score && here.id > best.id))
			best = here;
	}
	return best;
}

__device__ void choose(const ufm_router_args &a, uint32_t token, float *scores, uint32_t lane)
{
	int32_t *ids = (int32_t *)a.ids + (uint64_t)token * a.top_k;
	float *gates = (float *)a.gates + (uint64_t)token * a.top_k;
	candidate own = best_of_lane(scores, a.experts, lane);
	float sum = 0.0f;

	for (uint32_t j = 0; j < a.top_k; j++) {
		uint32_t score = warp_max_bits(own.score);
		uint32_t expert = ~warp_max_bits(own.score == score ? own.id : 0);
		float chosen = scores[expert];
		sum += chosen;
		__syncwarp();
		if (expert % WARP == lane) {
			ids[j] = (int32_t)expert;
			gates[j] = chosen;
			scores[expert] = CHOSEN;
			own = best_of_lane(scores, a.experts, lane);
		}
		__syncwarp();
	}
	for (uint32_t j = lane; a.norm_topk && j < a.top_k; j += WARP)
		gates[j] /= sum + UFM_NORM_TOPK_ADDEND;
}

/* `scores` holds logits, which become scores. */
__device__ void score_and_choose(const ufm_router_args &a, uint32_t token, float *scores,
                                 uint32_t lane)
{
	if (a.scoring == UFM_SCORE_SIGMOID)
		sigmoid(scores, a.experts, lane);
	else
		softmax(scores, a.experts, lane);
	__syncwarp();
	choose(a, token, scores, lane);
}

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

/* ------------------------------------------------------------------ both at once */

#define HELD 16u /* loads of a lane that are made before x is there */

template <uint32_t V> __device__ float add_products(const float (&w)[V], const float *x, float sum)
{
	float values[V];

	load<V>(x, values);
#pragma unroll
	for (uint32_t i = 0; i < V; i++)
		sum = fmaf(w[i], values[i], sum);
	return sum;
}

/* The first columns of a lane. */
template <uint32_t V>
__device__ void hold(float (&held)[HELD][V], const float *weight, uint32_t d_model, uint32_t lane)
{
#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		if ((h * WARP + lane) * V < d_model)
			load<V>(weight + (h * WARP + lane) * V, held[h]);
}

/* What one lane adds of a row of weights and a token, as route_logits does. */
template <uint32_t V>
__device__ float lane_sum(const float (&held)[HELD][V], const float *weight, const float *x,
                          uint32_t d_model, uint32_t lane)
{
	float sum = 0.0f;

#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		if ((h * WARP + lane) * V < d_model)
			sum = add_products<V>(held[h], x + (h * WARP + lane) * V, sum);
#pragma unroll 4
	for (uint32_t c = (HELD * WARP + lane) * V; c < d_model; c += WARP * V) {
		float w[V];
		load<V>(weight + c, w);
		sum = add_products<V>(w, x + c, sum);
	}
	return sum;
}

/* The blocks of a token's cluster share the experts; the first collects the logits and chooses. */
template <uint32_t V>
__global__ void __launch_bounds__(CLUSTER_WARPS *WARP) route_cluster(ufm_router_args a)
{
#if __CUDA_ARCH__ >= 900
	extern __shared__ float scores_of_token[];
	cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
	float *collected = cluster.map_shared_rank(scores_of_token, 0);
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t token = blockIdx.x / CLUSTER, rank = blockIdx.x % CLUSTER;
	const float *x = (const float *)a.x + (uint64_t)token * a.d_model;
	const float *all = (const float *)a.weight;
	uint32_t first = rank * CLUSTER_WARPS + warp, step = CLUSTER * CLUSTER_WARPS;
	float held[HELD][V];

	if (first < a.experts)
		hold<V>(held, all + (uint64_t)first * a.d_model, a.d_model, lane);
	cluster.sync(); /* all have begun: their memory is there */
	chain_wait();
	chain_start();
	for (uint32_t e = first; e < a.experts; e += step) {
		const float *weight = all + (uint64_t)e * a.d_model;
		if (e != first)
			hold<V>(held, weight, a.d_model, lane);
		float logit = warp_sum(lane_sum<V>(held, weight, x, a.d_model, lane));
		if (lane == 0)
			collected[e] = logit;
	}
	cluster.sync();
	if (rank || warp)
		return;
	score_and_choose(a, token, scores_of_token, lane);
#endif
}

template <uint32_t V>
static cudaError_t launch_cluster(const ufm_router_args *a, cudaStream_t stream)
{
	return launch_clusters(true, CLUSTER, route_cluster<V>, dim3(a->tokens * CLUSTER),
	                       CLUSTER_WARPS * WARP, a->experts * sizeof(float), stream, *a);
}

/* The bits of a token's logits depend on who computes them, so that is decided by the whole call. */
cudaError_t kernels_route(const ufm_router_args *args, bool chained, cudaStream_t stream)
{
	bool wide = args->d_model % 4 == 0 && args->x % 16 == 0 && args->weight % 16 == 0;
	uint32_t warps = args->experts <= SHARED_EXPERTS_MAX && args->tokens > 1 ? WARPS : 1;
	uint32_t of_call = args->call_tokens ? args->call_tokens : args->tokens;
	if (chained && of_call <= CLUSTER_TOKENS && args->experts <= SHARED_EXPERTS_MAX)
		return wide ? launch_cluster<4>(args, stream) : launch_cluster<1>(args, stream);
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

	if (!error)
		error = cudaFuncGetAttributes(&attributes, route_logits<V, 1, 4>);
	if (!error)
		error = cudaFuncGetAttributes(&attributes, route_cluster<V>);
	return error;
}

cudaError_t kernels_load_route(uint32_t *experts_max)
{
	int device = 0, shared_bytes = 0;
	cudaError_t error = cudaGetDevice(&device);

	if (!error)
		error =
			cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
	if (!error)
		error = load_logits<4>();
	if (!error)
		error = load_logits<1>();
	if (!error)
		error = cudaFuncSetAttribute(route_choose, cudaFuncAttributeMaxDynamicSharedMemorySize,
		                             shared_bytes);
	*experts_max = (uint32_t)shared_bytes / sizeof(float);
	return error;
}
