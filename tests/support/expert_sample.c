/* SPDX-License-Identifier: MIT */
/* An expert's results by plain sums in float64. */
#include "support/expert_sample.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bf16.h"
#include "base/rng.h"
#include "support/arithmetic.h"

/* ------------------------------------------------------------------ weights and inputs */

static void fill_part(expert_sample *s, uint32_t p, uint64_t seed)
{
	const ufm_part *part = &s->desc.parts[p];
	size_t count = (size_t)part->rows * part->cols;
	float scale = (float)(1.7 / sqrt(part->cols));
	void *at = s->block + part->offset_bytes;

	if (part->dtype == UFM_F32)
		rng_fill_f32(at, count, seed + p, 0, scale);
	else
		rng_fill_bf16(at, count, seed + p, 0, scale);
}

void expert_sample_init(expert_sample *s, const ufm_expert_desc *desc, uint32_t tokens,
                        uint64_t seed)
{
	uint32_t d = desc->d_model, h = desc->d_hidden;
	uint64_t mixed = rng_mix(seed, d * 1000003u + h * 131u + tokens);

	s->desc = *desc;
	s->seed = seed;
	s->tokens = tokens;
	s->block = alloc_zeroed(1, desc->block_bytes);
	s->x = alloc_zeroed((size_t)tokens * d, sizeof(float));
	s->hidden = alloc_zeroed((size_t)tokens * h, sizeof(float));
	s->out = alloc_zeroed((size_t)tokens * d, sizeof(float));
	s->hidden_ref = alloc_zeroed((size_t)tokens * h, sizeof(double));
	s->out_ref = alloc_zeroed((size_t)tokens * d, sizeof(double));
	s->scale = alloc_zeroed(h, sizeof(double));
	s->hidden_scale = s->out_scale = 0.0;
	for (uint32_t p = 0; p < desc->part_count; p++)
		fill_part(s, p, mixed);
	rng_fill_f32(s->x, (size_t)tokens * d, mixed + 99, 0, 2.0f);
}

void expert_sample_free(expert_sample *s)
{
	alloc_free(s->block);
	alloc_free(s->x);
	alloc_free(s->hidden);
	alloc_free(s->out);
	alloc_free(s->hidden_ref);
	alloc_free(s->out_ref);
	alloc_free(s->scale);
}

/* ------------------------------------------------------------------ float64 reference */

static double element(const expert_sample *s, ufm_role role, size_t index)
{
	const ufm_part *part = ufm_expert_part(&s->desc, role);

	if (!part)
		return 0.0;
	const unsigned char *data = s->block + part->offset_bytes;
	if (part->dtype == UFM_F32)
		return ((const float *)(const void *)data)[index];
	return bf16_to_f32(((const uint16_t *)(const void *)data)[index]);
}

/* A sum, and the sum of what its terms may be in magnitude. */
typedef struct total {
	double value, scale;
} total;

static void add_term(total *sum, double weight, double x, double x_scale)
{
	sum->value += weight * x;
	sum->scale += fabs(weight) * x_scale;
}

static total hidden_sum(const expert_sample *s, ufm_role matrix, ufm_role bias, uint32_t row,
                        const float *x)
{
	total sum = {0.0, 0.0};

	add_term(&sum, element(s, bias, row), 1.0, 1.0);
	for (uint32_t c = 0; c < s->desc.d_model; c++)
		add_term(&sum, element(s, matrix, (size_t)row * s->desc.d_model + c), (double)x[c],
		         fabs((double)x[c]));
	return sum;
}

static total output_sum(const expert_sample *s, uint32_t row, const double *hidden)
{
	total sum = {0.0, 0.0};

	add_term(&sum, element(s, UFM_ROLE_DOWN_BIAS, row), 1.0, 1.0);
	for (uint32_t u = 0; u < s->desc.d_hidden; u++)
		add_term(&sum, element(s, UFM_ROLE_DOWN, (size_t)row * s->desc.d_hidden + u), hidden[u],
		         s->scale[u]);
	return sum;
}

static void reference_hidden(expert_sample *s, const float *x, double *hidden)
{
	const ufm_expert_desc *desc = &s->desc;
	bool gated = ufm_expert_part(desc, UFM_ROLE_GATE) != NULL;

	for (uint32_t u = 0; u < desc->d_hidden; u++) {
		total up = hidden_sum(s, UFM_ROLE_UP, UFM_ROLE_UP_BIAS, u, x), gate = up;
		if (gated)
			gate = hidden_sum(s, UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS, u, x);
		hidden[u] = arithmetic_hidden(desc, gate.value, up.value);
		s->scale[u] = gate.scale * (gated ? up.scale + fabs((double)desc->up_offset) : 1.0);
		if (desc->activation == UFM_ACT_RELU2)
			s->scale[u] *= gate.scale;
		s->hidden_scale = fmax(s->hidden_scale, s->scale[u]);
	}
}

void expert_sample_reference(expert_sample *s)
{
	uint32_t d = s->desc.d_model, h = s->desc.d_hidden;

	for (uint32_t t = 0; t < s->tokens; t++) {
		double *hidden = s->hidden_ref + (size_t)t * h;
		reference_hidden(s, s->x + (size_t)t * d, hidden);
		for (uint32_t u = 0; u < d; u++) {
			total out = output_sum(s, u, hidden);
			s->out_ref[(size_t)t * d + u] = out.value;
			s->out_scale = fmax(s->out_scale, out.scale);
		}
	}
}

/* So many values that the largest is not small by cancellation. */
#define MANY 100

double expert_sample_error(const float *y, const double *ref, size_t count, double scale)
{
	double worst = 0.0, largest = 0.0;

	for (size_t i = 0; i < count; i++) {
		double e = fabs((double)y[i] - ref[i]);
		worst = isnan(e) ? INFINITY : fmax(worst, e);
		largest = fmax(largest, fabs(ref[i]));
	}
	if (count < MANY)
		largest = fmax(largest, scale);
	return largest > 0.0 ? worst / largest : worst;
}
