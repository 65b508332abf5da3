/* SPDX-License-Identifier: MIT */
/* The formulas as ufm.h has them, with the C library's functions alone. */
#include "support/arithmetic.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const arithmetic arithmetics[] = {
	{"gelu", false, UFM_ACT_GELU, 0, 0, 0, 0, 0},
	{"silu", false, UFM_ACT_SILU, 0, 0, 0, 0, 0},
	{"gelu-tanh", false, UFM_ACT_GELU_TANH, 0, 0, 0, 0, 0},
	{"relu2", false, UFM_ACT_RELU2, 0, 0, 0, 0, 0},
	{"gated gelu", true, UFM_ACT_GELU, 0, 0, 0, 0, 0},
	{"gated silu", true, UFM_ACT_SILU, 0, 0, 0, 0, 0},
	{"gated gelu-tanh", true, UFM_ACT_GELU_TANH, 0, 0, 0, 0, 0},
	{"gated relu2", true, UFM_ACT_RELU2, 0, 0, 0, 0, 0},
	{"alpha", true, UFM_ACT_SILU, 1.702f, 0, 0, 0, 0},
	{"gate limit", true, UFM_ACT_SILU, 0, 0.6f, 0, 0, 0},
	{"activated limit", true, UFM_ACT_SILU, 0, 0, 0.3f, 0, 0},
	{"up limit", true, UFM_ACT_SILU, 0, 0, 0, 0.5f, 0},
	{"up offset", true, UFM_ACT_SILU, 0, 0, 0, 0, 1.0f},
	{"negative up offset", true, UFM_ACT_GELU, 0, 0, 0, 0.9f, -0.25f},
	/* as gpt_oss, deepseek_v4 and step3p7 have them, with smaller limits */
	{"clamped, alpha, up + 1", true, UFM_ACT_SILU, 1.702f, 0.7f, 0, 0.7f, 1.0f},
	{"clamped", true, UFM_ACT_SILU, 0, 0.5f, 0, 0.5f, 0},
	{"clamped after", true, UFM_ACT_SILU, 0, 0, 0.25f, 0.4f, 0},
	{"clamped gelu-tanh, up + 0.5", true, UFM_ACT_GELU_TANH, 0, 0.9f, 0, 0.8f, 0.5f},
	{"clamped relu2, up + 0.5", true, UFM_ACT_RELU2, 0, 0, 0.6f, 0.8f, 0.5f},
};
const size_t arithmetic_count = sizeof arithmetics / sizeof arithmetics[0];

const arithmetic *arithmetic_named(const char *name)
{
	size_t i = 0;

	while (i < arithmetic_count && strcmp(arithmetics[i].name, name) != 0)
		i++;
	assert(i < arithmetic_count);
	return &arithmetics[i];
}

static uint64_t round_up(uint64_t bytes, uint64_t to)
{
	return (bytes + to - 1) / to * to;
}

static void append_bias(ufm_expert_desc *desc, ufm_role role, uint32_t rows)
{
	uint64_t offset = round_up(desc->expert_bytes, 64);
	ufm_dtype dtype = desc->parts[0].dtype;

	desc->parts[desc->part_count++] =
		(ufm_part){.role = role, .dtype = dtype, .rows = rows, .cols = 1, .offset_bytes = offset};
	desc->expert_bytes = offset + rows * ufm_dtype_bytes(dtype);
	desc->block_bytes = round_up(desc->expert_bytes, 4096);
}

ufm_expert_desc arithmetic_desc(const arithmetic *a, bool biased, ufm_dtype dtype, uint32_t d_model,
                                uint32_t d_hidden)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_status status = ufm_expert_desc_init(&desc, a->gated ? UFM_EXPERT_GATED : UFM_EXPERT_MLP,
	                                         d_model, d_hidden, dtype);

	assert(status == UFM_OK);
	(void)status;
	desc.activation = a->activation;
	desc.act_alpha = a->act_alpha;
	desc.gate_limit = a->gate_limit;
	desc.activated_limit = a->activated_limit;
	desc.up_limit = a->up_limit;
	desc.up_offset = a->up_offset;
	if (biased && a->gated)
		append_bias(&desc, UFM_ROLE_GATE_BIAS, d_hidden);
	if (biased) {
		append_bias(&desc, UFM_ROLE_UP_BIAS, d_hidden);
		append_bias(&desc, UFM_ROLE_DOWN_BIAS, d_model);
	}
	return desc;
}

/* x/2 (1 + tanh(u)), but not as the difference of two numbers that are nearly 1. */
static double gelu_tanh(double x)
{
	double u = sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x);

	return u < 0.0 ? x * exp(2.0 * u) / (1.0 + exp(2.0 * u)) : x * 0.5 * (1.0 + tanh(u));
}

double arithmetic_activation(ufm_activation activation, double alpha, double x)
{
	switch (activation) {
	case UFM_ACT_GELU:
		return x * 0.5 * erfc(-x / sqrt(2.0));
	case UFM_ACT_SILU:
		return x / (1.0 + exp(-x * (alpha > 0.0 ? alpha : 1.0)));
	case UFM_ACT_GELU_TANH:
		return gelu_tanh(x);
	case UFM_ACT_RELU2:
		return x < 0.0 ? 0.0 : x * x;
	}
	abort();
}

static double not_above(double x, float limit)
{
	return limit > 0.0f && x > (double)limit ? (double)limit : x;
}

double arithmetic_hidden(const ufm_expert_desc *desc, double gate, double up)
{
	double alpha = (double)desc->act_alpha;

	if (!ufm_expert_part(desc, UFM_ROLE_GATE))
		return arithmetic_activation(desc->activation, alpha, up);
	double g = arithmetic_activation(desc->activation, alpha, not_above(gate, desc->gate_limit));
	double u = -not_above(-not_above(up, desc->up_limit), desc->up_limit);
	return not_above(g, desc->activated_limit) * (u + (double)desc->up_offset);
}
