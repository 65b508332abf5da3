/* SPDX-License-Identifier: MIT */
/* What becomes of the sums of gate and up, whatever kernel made them: the activation, and the parameters of a
 * gated expert (ufm_expert_desc). Included by table_impl.h in the file of each instruction set. */
#ifndef UFM_KERNELS_GATING_IMPL_H
#define UFM_KERNELS_GATING_IMPL_H

#include "kernels/activation_impl.h"
#include "kernels/tile_impl.h"

#define MIN_U32(a, b) ((a) < (b) ? (a) : (b))

/* values[i] = f(values[i], parameter); f is a constant at every call. */
static ALWAYS_INLINE void map(vec (*f)(vec x, vec parameter), float *values, uint32_t count,
                              float parameter)
{
	vec all = v_set(parameter);

	for (uint32_t i = 0; i < count; i += LANES) {
		uint32_t n = MIN_U32(count - i, LANES);
		v_store_part(values + i, f(v_load_part(values + i, n), all), n);
	}
}

#define DEFINE_PLAIN(name) \
	static ALWAYS_INLINE vec name##_of(vec x, vec parameter) \
	{ \
		(void)parameter; \
		return name(x); \
	}
DEFINE_PLAIN(gelu)
DEFINE_PLAIN(silu)
DEFINE_PLAIN(gelu_tanh)
DEFINE_PLAIN(relu2)

/* These keep a NaN: of two numbers that do not compare, v_min gives the second. */
static ALWAYS_INLINE vec not_above(vec x, vec limit)
{
	return v_min(limit, x);
}

static ALWAYS_INLINE vec within(vec x, vec limit)
{
	vec least = limit * v_set(-1.0f);

	return v_select_less(x, least, least, v_min(limit, x));
}

static ALWAYS_INLINE vec plus(vec x, vec offset)
{
	return x + offset;
}

static void apply(const ufm_expert_desc *desc, float *values, uint32_t count)
{
	switch (desc->activation) {
	case UFM_ACT_GELU:
		map(gelu_of, values, count, 0.0f);
		break;
	case UFM_ACT_SILU:
		if (desc->act_alpha > 0.0f)
			map(silu_scaled, values, count, desc->act_alpha);
		else
			map(silu_of, values, count, 0.0f);
		break;
	case UFM_ACT_GELU_TANH:
		map(gelu_tanh_of, values, count, 0.0f);
		break;
	case UFM_ACT_RELU2:
		map(relu2_of, values, count, 0.0f);
		break;
	}
}

/* Gates to g, or ups without a gate to act(up). */
static void activate(const ufm_expert_desc *desc, float *values, uint32_t count)
{
	if (desc->gate_limit > 0.0f)
		map(not_above, values, count, desc->gate_limit);
	apply(desc, values, count);
	if (desc->activated_limit > 0.0f)
		map(not_above, values, count, desc->activated_limit);
}

/* hidden *= u; ups become u. */
static void multiply_by_up(const ufm_expert_desc *desc, float *hidden, float *ups, uint32_t count)
{
	if (desc->up_limit > 0.0f)
		map(within, ups, count, desc->up_limit);
	if (desc->up_offset != 0.0f)
		map(plus, ups, count, desc->up_offset);
	for (uint32_t i = 0; i < count; i += LANES) {
		uint32_t n = MIN_U32(count - i, LANES);
		v_store_part(hidden + i, v_load_part(hidden + i, n) * v_load_part(ups + i, n), n);
	}
}

#endif
