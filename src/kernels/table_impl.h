/* SPDX-License-Identifier: MIT */
/* The functions of a kernel_table; included at the end of the file of each instruction set. */
#ifndef UFM_KERNELS_TABLE_IMPL_H
#define UFM_KERNELS_TABLE_IMPL_H

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/coded_impl.h"
#include "kernels/gating_impl.h"
#include "kernels/tile_impl.h"

static const ufm_part *find_part(const ufm_expert_desc *desc, ufm_role role)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		if (desc->parts[i].role == role)
			return &desc->parts[i];
	}
	return NULL;
}

/* `coded` is filled where the matrix needs it, and must live as long. */
static matrix part_matrix(const ufm_expert_desc *desc, const void *block, ufm_role role,
                          coded_matrix *coded)
{
	const ufm_part *part = find_part(desc, role);

	assert(part);
	matrix m = {.data = (const unsigned char *)block + part->offset_bytes,
	            .k = part->cols,
	            .bf16 = part->dtype == UFM_BF16};
	if (part->format || part->dtype == UFM_F16) {
		*coded = coded_matrix_of(desc, block, role);
		m.coded = coded;
	}
	m.row_bytes = m.coded ? coded->m.row_bytes : row_bytes(m.k, m.bf16);
	return m;
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

/* Token rows, and what `prepare` made of them or NULL. */
typedef struct inputs {
	const float *x;
	const void *prepared;
} inputs;

#ifdef HAVE_TILES
static void tiles_multiply(const matrix *m, span s, inputs in, uint32_t first, uint32_t tokens,
                           float *out, size_t out_stride)
{
	_Alignas(64) float sums[BLOCK_ROWS_MAX * 2 * PANEL_TOKENS];
	size_t group_words = panel_steps(m->k) * panel_words(PANEL_TOKENS);

	for (uint32_t t = 0; t < tokens; t += PANEL_TOKENS) {
		uint32_t n = MIN_U32(tokens - t, PANEL_TOKENS), group = (first + t) / PANEL_TOKENS;
		tiled b = {.weights = matrix_row(m, s.begin),
		           .row_bytes = row_bytes(m->k, true),
		           .rows = s.end - s.begin,
		           .k = m->k,
		           .tokens = n,
		           .then = t + n == tokens ? s.then : NULL,
		           .sums = sums};
		add_all(&b, in.x + (size_t)(first + t) * m->k,
		        in.prepared ? (const uint32_t *)in.prepared + group * group_words : NULL);
		write_sums(sums, b.rows, n, out + t * out_stride, out_stride);
	}
	TILES_RELEASE();
}
#endif

/* out[t * out_stride + (u - begin)] = m[u] . x[first + t] */
static void product(const matrix *m, span s, inputs in, uint32_t first, uint32_t tokens, float *out,
                    size_t out_stride)
{
#ifdef HAVE_TILES
	if (m->bf16) {
		tiles_multiply(m, s, in, first, tokens, out, out_stride);
		return;
	}
#endif
	const float *x = in.x + (size_t)first * m->k;
	if (m->coded)
		coded_multiply(m->coded, s.begin, s.end, x, tokens, out, out_stride, s.then);
	else
		multiply(m, s.begin, s.end, x, tokens, out, out_stride, s.then);
}

/* g, or act(up) without a gate, of m x + bias, in place in `hidden`. */
static void activated(const ufm_expert_desc *desc, const matrix *m, span s, const float *bias,
                      inputs in, uint32_t tokens, float *hidden)
{
	uint32_t count = s.end - s.begin;

	product(m, s, in, 0, tokens, hidden + s.begin, desc->d_hidden);
	for (uint32_t t = 0; t < tokens; t++) {
		float *row = hidden + (size_t)t * desc->d_hidden + s.begin;
		add_bias(row, bias, count);
		activate(desc, row, count);
	}
}

/* Tokens whose products wait on the stack until they are multiplied in. */
#define FACTOR_TOKENS 48

/* hidden *= u of m x + bias */
static void multiplied(const ufm_expert_desc *desc, const matrix *m, span s, const float *bias,
                       inputs in, uint32_t tokens, float *hidden)
{
	float factors[FACTOR_TOKENS * BLOCK_ROWS_MAX];
	uint32_t count = s.end - s.begin;

	for (uint32_t first = 0; first < tokens; first += FACTOR_TOKENS) {
		uint32_t n = MIN_U32(tokens - first, FACTOR_TOKENS);
		product(m, s, in, first, n, factors, BLOCK_ROWS_MAX);
		for (uint32_t t = 0; t < n; t++) {
			float *row = factors + (size_t)t * BLOCK_ROWS_MAX;
			add_bias(row, bias, count);
			multiply_by_up(desc, hidden + (size_t)(first + t) * desc->d_hidden + s.begin, row,
			               count);
		}
	}
}

static void gated_hidden(const ufm_expert_desc *desc, const void *block, inputs in, uint32_t tokens,
                         float *hidden, uint32_t unit_begin, uint32_t unit_end)
{
	coded_matrix coded_gate, coded_up;
	matrix gate = part_matrix(desc, block, UFM_ROLE_GATE, &coded_gate);
	matrix up = part_matrix(desc, block, UFM_ROLE_UP, &coded_up);
	float bias[BLOCK_ROWS_MAX];

	while (unit_begin < unit_end) {
		span s = next_span(&gate, unit_begin, unit_end);
		span of_gate = {s.begin, s.end, matrix_row(&up, s.begin)};
		read_bias(desc, block, UFM_ROLE_GATE_BIAS, s.begin, s.end, bias);
		activated(desc, &gate, of_gate, bias, in, tokens, hidden);
		read_bias(desc, block, UFM_ROLE_UP_BIAS, s.begin, s.end, bias);
		multiplied(desc, &up, s, bias, in, tokens, hidden);
		unit_begin = s.end;
	}
}

static void hidden_units(const ufm_expert_desc *desc, const void *block, inputs in, uint32_t tokens,
                         float *hidden, uint32_t unit_begin, uint32_t unit_end)
{
	float bias[BLOCK_ROWS_MAX];
	coded_matrix coded;

	if (find_part(desc, UFM_ROLE_GATE)) {
		gated_hidden(desc, block, in, tokens, hidden, unit_begin, unit_end);
		return;
	}
	matrix up = part_matrix(desc, block, UFM_ROLE_UP, &coded);
	while (unit_begin < unit_end) {
		span s = next_span(&up, unit_begin, unit_end);
		read_bias(desc, block, UFM_ROLE_UP_BIAS, s.begin, s.end, bias);
		activated(desc, &up, s, bias, in, tokens, hidden);
		unit_begin = s.end;
	}
}

static void output_units(const ufm_expert_desc *desc, const void *block, inputs in, uint32_t tokens,
                         float *out, uint32_t unit_begin, uint32_t unit_end)
{
	coded_matrix coded;
	matrix down = part_matrix(desc, block, UFM_ROLE_DOWN, &coded);
	float bias[BLOCK_ROWS_MAX];

	while (unit_begin < unit_end) {
		span s = next_span(&down, unit_begin, unit_end);
		read_bias(desc, block, UFM_ROLE_DOWN_BIAS, s.begin, s.end, bias);
		product(&down, s, in, 0, tokens, out + s.begin, desc->d_model);
		for (uint32_t t = 0; t < tokens; t++)
			add_bias(out + (size_t)t * desc->d_model + s.begin, bias, s.end - s.begin);
		unit_begin = s.end;
	}
}

static void table_hidden(const ufm_expert_desc *desc, const void *block, const float *x,
                         uint32_t tokens, float *hidden, uint32_t unit_begin, uint32_t unit_end)
{
	hidden_units(desc, block, (inputs){x, NULL}, tokens, hidden, unit_begin, unit_end);
}

static void table_output(const ufm_expert_desc *desc, const void *block, const float *hidden,
                         uint32_t tokens, float *out, uint32_t unit_begin, uint32_t unit_end)
{
	output_units(desc, block, (inputs){hidden, NULL}, tokens, out, unit_begin, unit_end);
}

static void table_hidden_prepared(const ufm_expert_desc *desc, const void *block, const float *x,
                                  const void *prepared, uint32_t tokens, float *hidden,
                                  uint32_t unit_begin, uint32_t unit_end)
{
	hidden_units(desc, block, (inputs){x, prepared}, tokens, hidden, unit_begin, unit_end);
}

static void table_output_prepared(const ufm_expert_desc *desc, const void *block,
                                  const float *hidden, const void *prepared, uint32_t tokens,
                                  float *out, uint32_t unit_begin, uint32_t unit_end)
{
	output_units(desc, block, (inputs){hidden, prepared}, tokens, out, unit_begin, unit_end);
}

#ifdef HAVE_TILES
static uint32_t role_k(const ufm_expert_desc *desc, ufm_role role)
{
	return role == UFM_ROLE_DOWN ? desc->d_hidden : desc->d_model;
}

static bool role_has_bf16(const ufm_expert_desc *desc, ufm_role role)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		bool wanted = part->role == role || (role == UFM_ROLE_UP && part->role == UFM_ROLE_GATE);
		if (wanted && part->dtype == UFM_BF16)
			return true;
	}
	return false;
}

static uint64_t table_prepared_bytes(const ufm_expert_desc *desc, ufm_role role, uint32_t tokens)
{
	uint64_t groups = tokens / PANEL_TOKENS, rest = tokens % PANEL_TOKENS;
	uint64_t words = groups * panel_words(PANEL_TOKENS);

	if (!role_has_bf16(desc, role))
		return 0;
	words += rest ? panel_words((uint32_t)rest) : 0;
	return words * panel_steps(role_k(desc, role)) * sizeof(uint32_t);
}

static void table_prepare(const ufm_expert_desc *desc, ufm_role role, const float *x,
                          uint32_t tokens, void *prepared, uint32_t part, uint32_t parts)
{
	uint32_t k = role_k(desc, role), steps = panel_steps(k);
	uint32_t begin = (uint32_t)((uint64_t)steps * part / parts);
	uint32_t end = (uint32_t)((uint64_t)steps * (part + 1) / parts);

	if (!role_has_bf16(desc, role))
		return;
	for (uint32_t t = 0; t < tokens; t += PANEL_TOKENS) {
		uint32_t n = MIN_U32(tokens - t, PANEL_TOKENS);
		uint32_t *panels =
			(uint32_t *)prepared + (size_t)(t / PANEL_TOKENS) * steps * panel_words(PANEL_TOKENS);
		fill_panels(x + (size_t)t * k, k, n, begin, end, panels + begin * panel_words(n));
	}
}
#else
static uint64_t table_prepared_bytes(const ufm_expert_desc *desc, ufm_role role, uint32_t tokens)
{
	(void)desc, (void)role, (void)tokens;
	return 0;
}

static void table_prepare(const ufm_expert_desc *desc, ufm_role role, const float *x,
                          uint32_t tokens, void *prepared, uint32_t part, uint32_t parts)
{
	(void)desc, (void)role, (void)x, (void)tokens, (void)prepared, (void)part, (void)parts;
}
#endif

static void table_logits(const float *weight, uint32_t experts, const float *x, uint32_t tokens,
                         uint32_t d_model, float *logits)
{
	matrix m = {.data = (const unsigned char *)(const void *)weight,
	            .k = d_model,
	            .row_bytes = row_bytes(d_model, false)};
	uint32_t begin = 0;

	while (begin < experts) {
		span s = next_span(&m, begin, experts);
		multiply(&m, s.begin, s.end, x, tokens, logits + s.begin, experts, s.then);
		begin = s.end;
	}
}

static void table_expand(const ufm_expert_desc *desc, const void *block, ufm_role role,
                         uint32_t row, float *out)
{
	_Alignas(64) float expanded[PIECE_STRIDE];
	coded_matrix c = coded_matrix_of(desc, block, role);

	for (uint32_t first = 0; first < c.m.part->cols; first += PIECE_MAX) {
		uint32_t count = MIN_U32(c.m.part->cols - first, PIECE_MAX);
		c.expand(&c.m, row, 1, first, count, expanded);
		memcpy(out + first, expanded, count * sizeof *out);
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
		.rms_norm = table_rms_norm, .accumulate = kernels_accumulate, .expand = table_expand, \
		.prepared_bytes = table_prepared_bytes, .prepare = table_prepare, \
		.hidden_prepared = table_hidden_prepared, .output_prepared = table_output_prepared, \
	}

#endif
