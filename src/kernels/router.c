/* SPDX-License-Identifier: MIT */
/* From one token's logits to its experts: scores and the top k, kept in a heap inside the output. */
#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/kernels_int.h"

static void softmax(float *values, uint32_t count)
{
	float largest = -INFINITY, sum = 0.0f;

	for (uint32_t i = 0; i < count; i++)
		largest = values[i] > largest ? values[i] : largest;
	for (uint32_t i = 0; i < count; i++) {
		values[i] = expf(values[i] - largest);
		sum += isnan(values[i]) ? 0.0f : values[i];
	}
	for (uint32_t i = 0; i < count; i++)
		values[i] /= sum;
}

static void sigmoid(float *values, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		values[i] = 1.0f / (1.0f + expf(-values[i]));
}

/* Whether expert a with gate ga ranks before b: larger gate, then lower id; a NaN is last. */
static bool ranks_before(float ga, int32_t a, float gb, int32_t b)
{
	if (isnan(ga) || isnan(gb))
		return isnan(ga) && isnan(gb) ? a < b : isnan(gb);
	return ga != gb ? ga > gb : a < b;
}

/* Puts (id, gate) at the root of a heap of count entries whose root ranks last, and sifts it down. */
static void sift(int32_t *ids, float *gates, uint32_t count, int32_t id, float gate)
{
	uint32_t at = 0;

	for (uint32_t child = 1; child < count; child = 2 * at + 1) {
		if (child + 1 < count &&
		    ranks_before(gates[child], ids[child], gates[child + 1], ids[child + 1]))
			child++;
		if (!ranks_before(gate, id, gates[child], ids[child]))
			break;
		ids[at] = ids[child];
		gates[at] = gates[child];
		at = child;
	}
	ids[at] = id;
	gates[at] = gate;
}

/* Takes the root, which ranks last of those left, to the end. */
static void sort_heap(int32_t *ids, float *gates, uint32_t count)
{
	for (uint32_t last = count; last-- > 1;) {
		int32_t id = ids[last];
		float gate = gates[last];
		ids[last] = ids[0];
		gates[last] = gates[0];
		sift(ids, gates, last, id, gate);
	}
}

static void normalise(float *gates, uint32_t count)
{
	float sum = 0.0f;

	for (uint32_t j = 0; j < count; j++)
		sum += gates[j];
	for (uint32_t j = 0; j < count; j++)
		gates[j] /= sum + UFM_NORM_TOPK_ADDEND;
}

void kernels_top_k(float *logits, uint32_t experts, ufm_scoring scoring, uint32_t top_k,
                   int norm_topk, int32_t *ids, float *gates)
{
	assert(top_k >= 1 && top_k <= experts);
	if (scoring == UFM_SCORE_SIGMOID)
		sigmoid(logits, experts);
	else
		softmax(logits, experts);
	/* Ranks behind every expert: a NaN with an id past the last. */
	for (uint32_t j = 0; j < top_k; j++) {
		ids[j] = INT32_MAX;
		gates[j] = NAN;
	}
	for (uint32_t e = 0; e < experts; e++) {
		if (ranks_before(logits[e], (int32_t)e, gates[0], ids[0]))
			sift(ids, gates, top_k, (int32_t)e, logits[e]);
	}
	sort_heap(ids, gates, top_k);
	if (norm_topk)
		normalise(gates, top_k);
}

void kernels_fold(int32_t *ids, float *gates, uint32_t top_k)
{
	for (uint32_t j = 1; j < top_k; j++) {
		uint32_t first = 0;
		while (first < j && ids[first] != ids[j])
			first++;
		if (first == j || ids[j] < 0)
			continue;
		gates[first] += gates[j];
		ids[j] = -1;
	}
}
