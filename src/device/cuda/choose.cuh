/* SPDX-License-Identifier: MIT */
/* From a token's logits to its experts: scores, and the top k of them, by one warp. */
#ifndef UFM_DEVICE_CUDA_CHOOSE_CUH
#define UFM_DEVICE_CUDA_CHOOSE_CUH

#include <ufm/backend.h>

#include "device/cuda/numbers.cuh"

#define CHOSEN (-1.0f) /* no score is negative */

/* ------------------------------------------------------------------ scores */

__device__ inline float warp_max(float value)
{
#pragma unroll
	for (uint32_t offset = WARP / 2; offset; offset /= 2)
		value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, offset));
	return value;
}

/* A NaN counts neither for the maximum nor for the sum, and stays a NaN. A lane's values are its
 * own modulo 32, here and below. */
__device__ inline void softmax(float *values, uint32_t count, uint32_t lane)
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

__device__ inline void sigmoid(float *values, uint32_t count, uint32_t lane)
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

__device__ inline uint32_t warp_max_bits(uint32_t value)
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

__device__ inline candidate rank_of(float score, uint32_t expert)
{
	if (score == CHOSEN)
		return {0, 0};
	return {isnan(score) ? 0 : __float_as_uint(score) + 1, ~expert};
}

/* The best of a lane's own experts. */
__device__ inline candidate best_of_lane(const float *scores, uint32_t count, uint32_t lane)
{
	candidate best = {0, 0};

	for (uint32_t e = lane; e < count; e += WARP) {
		candidate here = rank_of(scores[e], e);
		if (here.score > best.score || (here.score == best.score && here.id > best.id))
			best = here;
	}
	return best;
}

__device__ inline void choose(const ufm_router_args &a, uint32_t token, float *scores,
                              uint32_t lane)
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
__device__ inline void score_and_choose(const ufm_router_args &a, uint32_t token, float *scores,
                                        uint32_t lane)
{
	if (a.scoring == UFM_SCORE_SIGMOID)
		sigmoid(scores, a.experts, lane);
	else
		softmax(scores, a.experts, lane);
	__syncwarp();
	choose(a, token, scores, lane);
}

#endif
