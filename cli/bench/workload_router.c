/* SPDX-License-Identifier: MIT */
/* Hidden states and router weights by which a router makes the choices of a trace. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "cli/bench/workload_int.h"

/* The marked element is as many times d_model, where the others are about 1: what those add to a logit, and what the
 * layers before add to them, is too small even for the order of a token's experts. They are not left out: a device that
 * multiplies by zeros takes less power than a model lets it. */
#define MARK 1e4f
/* Logits of who is not chosen, and by how much the first gate of a token exceeds the last, over their mean. */
#define REJECTED (-30.0f)
#define SPREAD 0.5f

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t window_steps(const workload *w)
{
	uint64_t steps = w->config.d_model / w->config.tokens;
	return steps ? steps : 1;
}

static uint64_t window_tokens(const workload *w)
{
	return window_steps(w) * w->config.tokens;
}

uint64_t workload_window(const workload *w, uint64_t step)
{
	return step / window_steps(w);
}

/* The column that the token at position p reads. */
static uint32_t column_of(const workload *w, uint64_t p)
{
	return (uint32_t)(p % window_tokens(w) % w->config.d_model);
}

void workload_mark(const workload *w, float *x, uint64_t p)
{
	x[column_of(w, p)] = MARK * (float)w->config.d_model;
}

/* Behind a softmax gates fall from 1 + SPREAD / 2 to 1 - SPREAD / 2 over the mean. */
static float logit_of(uint32_t rank, uint32_t top_k)
{
	float place = ((float)rank + 0.5f) / (float)top_k;
	return logf((1 + SPREAD * (0.5f - place)) / (float)top_k);
}

/* What the norm makes of the marked element, beside which nothing else counts for the root mean square. */
static float marked(const float *norm, uint32_t d_model, uint32_t column)
{
	return norm[column] * sqrtf((float)d_model);
}

static void reject_all(const float *norm, uint32_t d_model, uint32_t experts, float *weights)
{
	for (uint32_t c = 0; c < d_model; c++)
		weights[c] = REJECTED / marked(norm, d_model, c);
	for (uint32_t e = 1; e < experts; e++)
		memcpy(weights + (size_t)e * d_model, weights, d_model * sizeof *weights);
}

void workload_router(const workload *w, uint64_t window, uint32_t layer, const float *norm,
                     uint32_t experts, float *weights)
{
	uint32_t d_model = w->config.d_model, top_k = w->config.top_k;
	uint64_t first = window * window_tokens(w), columns = least(window_tokens(w), d_model);
	assert(workload_steers(w));
	reject_all(norm, d_model, experts, weights);
	for (uint32_t c = 0; c < columns; c++) {
		const uint16_t *event = workload_event(w, first + c, layer);
		for (uint32_t rank = 0; rank < top_k; rank++)
			weights[(size_t)trace_id(event, rank) * d_model + c] =
				logit_of(rank, top_k) / marked(norm, d_model, c);
	}
}
