/* SPDX-License-Identifier: MIT */
/* The functions of a kernel_table; included at the end of the file of each instruction set. */
#ifndef UFM_KERNELS_TABLE_IMPL_H
#define UFM_KERNELS_TABLE_IMPL_H

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/activation_impl.h"
#include "kernels/tile_impl.h"

#define MIN_U32(a, b) ((a) < (b) ? (a) : (b))

static const ufm_part *find_part(const ufm_expert_desc *desc, ufm_role role)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		if (desc->parts[i].role == role)
			return &desc->parts[i];
	}
	return NULL;
}

static matrix part_matrix(const ufm_expert_desc *desc, const void *block, ufm_role role)
{
	const ufm_part *part = find_part(desc, role);

	assert(part);
	return (matrix){(const unsigned char *)block + part->offset_bytes, part->cols,
	                part->dtype == UFM_BF16};
}

/* Elements begin … end-1 of a bias as f32; zeros where the expert has none. */
static void read_bias(const ufm_expert_desc *desc, const void *block, ufm_role role, uint32_t begin,
                      uint32_t end, float *bias)
{
	const ufm_part *part = find_part(desc, role);

	memset(bias, 0, (end - begin) * sizeof *bias);
	if (!part)
		return;
	const unsigned char *data = (const unsigned char *)block + part->offset_bytes;
	if (part->dtype == UFM_F32) {
		memcpy(bias, data + begin * sizeof(float), (end - begin) * sizeof *bias);
		return;
	}
	const uint16_t *bits = (const uint16_t *)(const void *)data;
	for (uint32_t u = begin; u < end; u++)
		bias[u - begin] = bf16_to_f32(bits[u]);
}

static void add_bias(float *values, const float *bias, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += LANES) {
		uint32_t n = MIN_U32(count - i, LANES);
		v_store_part(values + i, v_load_part(values + i, n) + v_load_part(bias + i, n), n);
	}
}

static void activate(ufm_activation activation, float *values, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += LANES) {
		uint32_t n = MIN_U32(count - i, LANES);
		vec x = v_load_part(values + i, n);
		v_store_part(values + i, activation == UFM_ACT_SILU ? silu(x) : gelu(x), n);
	}
}

static void scale_by(float *values, const float *factors, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += LANES) {
		uint32_t n = MIN_U32(count - i, LANES);
		v_store_part(values + i, v_load_part(values + i, n) * v_load_part(factors + i, n), n);
	}
}

/* The rows begin … end-1 of one block, and what follows it in memory's order of use. */
typedef struct span {
	uint32_t begin, end;
	const unsigned char *then;
} span;

static span next_span(const matrix *m, uint32_t begin, uint32_t end)
{
	uint32_t rows = block_rows(m);

	if (end - begin <= rows)
		return (span){begin, end, NULL};
	return (span){begin, begin + rows, matrix_row(m, begin + rows)};
}

/* act(m x + bias), in place in `hidden`. */
static void activated(const ufm_expert_desc *desc, const matrix *m, span s, const float *bias,
                      const float *x, uint32_t tokens, float *hidden)
{
	uint32_t count = s.end - s.begin;

	multiply(m, s.begin, s.end, x, tokens, hidden + s.begin, desc->d_hidden, s.then);
	for (uint32_t t = 0; t < tokens; t++) {
		float *row = hidden + (size_t)t * desc->d_hidden + s.begin;
		add_bias(row, bias, count);
		activate(desc->activation, row, count);
	}
}

/* Tokens whose products wait on the stack until they are multiplied in. */
#define FACTOR_TOKENS 48

/* hidden *= m x + bias */
static void multiplied(const ufm_expert_desc *desc, const matrix *m, span s, const float *bias,
                       const float *x, uint32_t tokens, float *hidden)
{
	float factors[FACTOR_TOKENS * BLOCK_ROWS_MAX];
	uint32_t count = s.end - s.begin;

	for (uint32_t first = 0; first < tokens; first += FACTOR_TOKENS) {
		uint32_t n = MIN_U32(tokens - first, FACTOR_TOKENS);
		multiply(m, s.begin, s.end, x + (size_t)first * m->k, n, factors, BLOCK_ROWS_MAX, s.then);
		for (uint32_t t = 0; t < n; t++) {
			float *row = factors + (size_t)t * BLOCK_ROWS_MAX;
			add_bias(row, bias, count);
			scale_by(hidden + (size_t)(first + t) * desc->d_hidden + s.begin, row, count);
		}
	}
}

static void gated_hidden(const ufm_expert_desc *desc, const void *block, const float *x,
                         uint32_t tokens, float *hidden, uint32_t unit_begin, uint32_t unit_end)
{
	matrix gate = part_matrix(desc, block, UFM_ROLE_GATE);
	matrix up = part_matrix(desc, block, UFM_ROLE_UP);
	float bias[BLOCK_ROWS_MAX];

	while (unit_begin < unit_end) {
		span s = next_span(&gate, unit_begin, unit_end);
		span of_gate = {s.begin, s.end, matrix_row(&up, s.begin)};
		read_bias(desc, block, UFM_ROLE_GATE_BIAS, s.begin, s.end, bias);
		activated(desc, &gate, of_gate, bias, x, tokens, hidden);
		read_bias(desc, block, UFM_ROLE_UP_BIAS, s.begin, s.end, bias);
		multiplied(desc, &up, s, bias, x, tokens, hidden);
		unit_begin = s.end;
	}
}

static void table_hidden(const ufm_expert_desc *desc, const void *block, const float *x,
                         uint32_t tokens, float *hidden, uint32_t unit_begin, uint32_t unit_end)
{
	float bias[BLOCK_ROWS_MAX];

	if (find_part(desc, UFM_ROLE_GATE)) {
		gated_hidden(desc, block, x, tokens, hidden, unit_begin, unit_end);
		return;
	}
	matrix up = part_matrix(desc, block, UFM_ROLE_UP);
	while (unit_begin < unit_end) {
		span s = next_span(&up, unit_begin, unit_end);
		read_bias(desc, block, UFM_ROLE_UP_BIAS, s.begin, s.end, bias);
		activated(desc, &up, s, bias, x, tokens, hidden);
		unit_begin = s.end;
	}
}

static void table_output(const ufm_expert_desc *desc, const void *block, const float *hidden,
                         uint32_t tokens, float *out, uint32_t unit_begin, uint32_t unit_end)
{
	matrix down = part_matrix(desc, block, UFM_ROLE_DOWN);
	float bias[BLOCK_ROWS_MAX];

	while (unit_begin < unit_end) {
		span s = next_span(&down, unit_begin, unit_end);
		read_bias(desc, block, UFM_ROLE_DOWN_BIAS, s.begin, s.end, bias);
		multiply(&down, s.begin, s.end, hidden, tokens, out + s.begin, desc->d_model, s.then);
		for (uint32_t t = 0; t < tokens; t++)
			add_bias(out + (size_t)t * desc->d_model + s.begin, bias, s.end - s.begin);
		unit_begin = s.end;
	}
}

static void table_logits(const float *weight, uint32_t experts, const float *x, uint32_t tokens,
                         uint32_t d_model, float *logits)
{
	matrix m = {(const unsigned char *)(const void *)weight, d_model, false};
	uint32_t begin = 0;

	while (begin < experts) {
		span s = next_span(&m, begin, experts);
		multiply(&m, s.begin, s.end, x, tokens, logits + s.begin, experts, s.then);
		begin = s.end;
	}
}

static float sum_of_squares(const float *x, uint32_t d)
{
	vec sums[4] = {v_set(0.0f), v_set(0.0f), v_set(0.0f), v_set(0.0f)};
	float totals[4];

	for (uint32_t i = 0, s = 0; i < d; i += LANES, s = (s + 1) % 4) {
		vec part = v_load_part(x + i, MIN_U32(d - i, LANES));
		sums[s] = v_fma(part, part, sums[s]);
	}
	v_sums4(sums[0], sums[1], sums[2], sums[3], totals);
	return (totals[0] + totals[1]) + (totals[2] + totals[3]);
}

static void table_rms_norm(const float *x, const float *weight, float eps, uint32_t d, float *y)
{
	if (!weight) {
		memmove(y, x, d * sizeof *y);
		return;
	}
	vec scale = v_set(1.0f / sqrtf(sum_of_squares(x, d) / (float)d + eps));
	for (uint32_t i = 0; i < d; i += LANES) {
		uint32_t n = MIN_U32(d - i, LANES);
		v_store_part(y + i, v_load_part(x + i, n) * scale * v_load_part(weight + i, n), n);
	}
}

#define TABLE(isa_name) \
	{ \
		.isa = (isa_name), .hidden = table_hidden, .output = table_output, .logits = table_logits, \
		.rms_norm = table_rms_norm, .accumulate = kernels_accumulate, \
	}

#endif
