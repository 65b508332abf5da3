/* SPDX-License-Identifier: MIT */
/* Scores and the top k, a few tokens a block, one warp a token. */
#include "device/cuda/kernels.h"
#include "device/cuda/numbers.cuh"

#define TOKENS 4u /* a block; each has a warp */
#define THREADS (TOKENS * WARP)
#define EXPERTS_AT_ONCE 4u /* rows of the router that a warp reads side by side */
/* Up to here the scores of all tokens of a block fit 48 KiB; above, a block has one token. */
#define SHARED_EXPERTS_MAX 3072u

#define CHOSEN (-1.0f) /* no score is negative */

/* logits[t, e] of the block's tokens. A lane sums the columns that are its own modulo 32. */
template <uint32_t N>
__device__ void block_logits(const ufm_router_args &a, uint32_t first, uint32_t tokens,
                             float *logits)
{
	const float *weight = (const float *)a.weight, *x = (const float *)a.x;
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

	for (uint32_t e = warp * EXPERTS_AT_ONCE; e < a.experts; e += TOKENS * EXPERTS_AT_ONCE) {
		float sum[EXPERTS_AT_ONCE][N] = {};
		for (uint32_t c = lane; c < a.d_model; c += WARP) {
			float w[EXPERTS_AT_ONCE];
#pragma unroll
			for (uint32_t i = 0; i < EXPERTS_AT_ONCE; i++)
				w[i] = weight[(uint64_t)min(e + i, a.experts - 1) * a.d_model + c];
#pragma unroll
			for (uint32_t t = 0; t < N; t++) {
				float value = x[(uint64_t)(first + min(t, tokens - 1)) * a.d_model + c];
#pragma unroll
				for (uint32_t i = 0; i < EXPERTS_AT_ONCE; i++)
					sum[i][t] = fmaf(w[i], value, sum[i][t]);
			}
		}
#pragma unroll
		for (uint32_t t = 0; t < N; t++) {
#pragma unroll
			for (uint32_t i = 0; i < EXPERTS_AT_ONCE; i++) {
				float logit = warp_sum(sum[i][t]);
				if (lane == 0 && t < tokens && e + i < a.experts)
					logits[(uint64_t)t * a.experts + e + i] = logit;
			}
		}
	}
}

__device__ float warp_max(float value)
{
#pragma unroll
	for (uint32_t offset = WARP / 2; offset; offset /= 2)
		value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, offset));
	return value;
}

/* A NaN counts neither for the maximum nor for the sum, and stays a NaN. */
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

typedef struct candidate {
	float score;
	uint32_t expert; /* UINT32_MAX: none */
} candidate;

/* Larger score, then lower id; a NaN is last, and none behind it. */
__device__ bool ranks_before(candidate a, candidate b)
{
	if (b.expert == UINT32_MAX || a.expert == UINT32_MAX)
		return a.expert != UINT32_MAX;
	if (isnan(a.score) || isnan(b.score))
		return isnan(a.score) && isnan(b.score) ? a.expert < b.expert : isnan(b.score);
	return a.score != b.score ? a.score > b.score : a.expert < b.expert;
}

__device__ candidate best_left(const float *scores, uint32_t count, uint32_t lane)
{
	candidate best = {0.0f, UINT32_MAX};

	for (uint32_t e = lane; e < count; e += WARP) {
		candidate here = {scores[e], e};
		if (here.score != CHOSEN && ranks_before(here, best))
			best = here;
	}
#pragma unroll
	for (uint32_t offset = WARP / 2; offset; offset /= 2) {
		candidate other = {__shfl_xor_sync(ALL_LANES, best.score, offset),
		                   __shfl_xor_sync(ALL_LANES, best.expert, offset)};
		if (ranks_before(other, best))
			best = other;
	}
	return best;
}

__device__ void choose(const ufm_router_args &a, uint32_t token, float *scores, uint32_t lane)
{
	int32_t *ids = (int32_t *)a.ids + (uint64_t)token * a.top_k;
	float *gates = (float *)a.gates + (uint64_t)token * a.top_k;
	float sum = 0.0f;

	for (uint32_t j = 0; j < a.top_k; j++) {
		candidate best = best_left(scores, a.experts, lane);
		sum += best.score;
		if (lane == 0) {
			ids[j] = (int32_t)best.expert;
			gates[j] = best.score;
			scores[best.expert] = CHOSEN;
		}
		__syncwarp();
	}
	for (uint32_t j = lane; a.norm_topk && j < a.top_k; j += WARP)
		gates[j] /= sum;
}

template <uint32_t N> __global__ void __launch_bounds__(THREADS) route_tokens(ufm_router_args a)
{
	extern __shared__ float logits[];
	uint32_t first = blockIdx.x * N, tokens = min(N, a.tokens - first);
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

	block_logits<N>(a, first, tokens, logits);
	__syncthreads();
	if (warp >= tokens)
		return;
	float *scores = logits + (uint64_t)warp * a.experts;
	if (a.scoring == UFM_SCORE_SIGMOID)
		sigmoid(scores, a.experts, lane);
	else
		softmax(scores, a.experts, lane);
	__syncwarp();
	choose(a, first + warp, scores, lane);
}

cudaError_t kernels_route(const ufm_router_args *args, cudaStream_t stream)
{
	size_t score_bytes = args->experts * sizeof(float);

	if (args->experts <= SHARED_EXPERTS_MAX)
		route_tokens<TOKENS>
			<<<(args->tokens + TOKENS - 1) / TOKENS, THREADS, TOKENS * score_bytes, stream>>>(
				*args);
	else
		route_tokens<1><<<args->tokens, THREADS, score_bytes, stream>>>(*args);
	return cudaGetLastError();
}

cudaError_t kernels_load_route(uint32_t *experts_max)
{
	cudaFuncAttributes attributes;
	int device = 0, shared_bytes = 0;
	cudaError_t error = cudaGetDevice(&device);

	if (!error)
		error =
			cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
	if (!error)
		error = cudaFuncGetAttributes(&attributes, route_tokens<TOKENS>);
	if (!error)
		error = cudaFuncSetAttribute(route_tokens<1>, cudaFuncAttributeMaxDynamicSharedMemorySize,
		                             shared_bytes);
	*experts_max = (uint32_t)shared_bytes / sizeof(float);
	return error;
}
