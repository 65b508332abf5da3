/* SPDX-License-Identifier: MIT */
/* IEEE 754 half precision as bit patterns. */
#ifndef UFM_BASE_F16_H
#define UFM_BASE_F16_H

#include <stdint.h>
#include <string.h>

/* Exact: every half is a float. A NaN keeps its payload and becomes quiet. */
static inline float f16_to_f32(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1fu,
			 fraction = bits & 0x3ffu, wide;
	float value;

	if (exponent == 0x1f) {
		wide = sign | 0x7f800000u | fraction << 13 | (fraction ? 0x00400000u : 0);
	} else if (exponent) {
		wide = sign | (exponent + 112) << 23 | fraction << 13;
	} else {
		/* Zero or subnormal: a multiple of 2^-24, which a float holds exactly. */
		value = (float)fraction * 0x1p-24f;
		memcpy(&wide, &value, sizeof wide);
		wide |= sign;
	}
	memcpy(&value, &wide, sizeof value);
	return value;
}

#endif
