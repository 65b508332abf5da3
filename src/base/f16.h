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

/* Rounds to nearest, ties to even; beyond the largest half to infinity. A NaN stays one. */
static inline uint16_t f16_from_f32(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
	if (rest > 0x7f800000u)
		return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
	if (rest >= 0x47800000u) /* 65536 */
		return (uint16_t)(sign | 0x7c00u);
	if (rest <
	    0x38800000u) { /* below the smallest normal half: a multiple of 2^-24, rounded by the addition */
		float magic = 0.5f, sum;
		memcpy(&sum, &rest, sizeof sum);
		sum += magic;
		memcpy(&rest, &sum, sizeof rest);
		return (uint16_t)(sign | (rest - 0x3f000000u));
	}
	rest += 0xfffu + (rest >> 13 & 1u);
	return (uint16_t)(sign | ((rest >> 13) - 0x1c000u));
}

#endif
