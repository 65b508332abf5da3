/* SPDX-License-Identifier: MIT */
/* Blocks that carry their scales, as GGUF files have them. The order of the products is part of the definition: what
 * is expanded here has the bits that the format's own reader in Python gives. */
#include <assert.h>

#include "format/format_int.h"

const int8_t format_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
const int8_t format_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* d, then bytes. */
static void expand_q8_0(const uint8_t *block, float *out)
{
	float d = load_half(block);

	for (int i = 0; i < 32; i++)
		out[i] = d * (float)(int8_t)block[2 + i];
}

/* d, then 16 bytes: the low halves are the first 16 elements. */
static void expand_q4_0(const uint8_t *block, float *out)
{
	float d = load_half(block);

	for (int i = 0; i < 16; i++) {
		out[i] = d * (float)((block[2 + i] & 15) - 8);
		out[i + 16] = d * (float)((block[2 + i] >> 4) - 8);
	}
}

static void expand_iq4_nl(const uint8_t *block, float *out)
{
	float d = load_half(block);

	for (int i = 0; i < 16; i++) {
		out[i] = d * (float)format_iq4_values[block[2 + i] & 15];
		out[i + 16] = d * (float)format_iq4_values[block[2 + i] >> 4];
	}
}

/* d, the fifth bits of all elements, then as Q4_0. */
static void expand_q5_0(const uint8_t *block, float *out)
{
	float d = load_half(block);

	for (int i = 0; i < 32; i++) {
		int fifth = block[2 + i / 8] >> (i % 8) & 1, byte = block[6 + i % 16];
		int four = i < 16 ? byte & 15 : byte >> 4;
		out[i] = d * (float)((four | fifth << 4) - 16);
	}
}

/* Half a power of two, then as Q4_0, but of twice what E2M1 says; its negative zero is one without a sign. */
static void expand_mxfp4(const uint8_t *block, float *out)
{
	float half = block[0] == 0 ? 0x1p-128f : format_from_e8m0((uint8_t)(block[0] - 1));

	for (int i = 0; i < 16; i++) {
		out[i] = half * (float)format_mxfp4_values[block[1 + i] & 15];
		out[i + 16] = half * (float)format_mxfp4_values[block[1 + i] >> 4];
	}
}

/* Scale and minimum of a run of 32 elements, six bits each, in 12 bytes. */
static void run_of_k(const uint8_t *packed, int run, int *scale, int *minimum)
{
	if (run < 4) {
		*scale = packed[run] & 63;
		*minimum = packed[run + 4] & 63;
		return;
	}
	*scale = (packed[run + 4] & 15) | packed[run - 4] >> 6 << 4;
	*minimum = packed[run + 4] >> 4 | packed[run] >> 6 << 4;
}

/* Sixteen bytes of the head: d, the minimum's d, scales and minima; then 128 bytes, each for an element and the one 32
 * later; `fifths` has a bit for each run, or is NULL. */
static void expand_k(const uint8_t *block, const uint8_t *fifths, const uint8_t *fours, float *out)
{
	float d = load_half(block), d_minimum = load_half(block + 2);

	for (int run = 0; run < 8; run++) {
		int scale, minimum;
		run_of_k(block + 4, run, &scale, &minimum);
		float run_d = d * (float)scale, run_minimum = d_minimum * (float)minimum;
		for (int i = 0; i < 32; i++) {
			int byte = fours[run / 2 * 32 + i], value = run % 2 ? byte >> 4 : byte & 15;
			if (fifths)
				value |= (fifths[i] >> run & 1) << 4;
			out[run * 32 + i] = run_d * (float)value - run_minimum;
		}
	}
}

/* The low four bits, the high two, a scale for each 16 elements, d. */
static void expand_q6_k(const uint8_t *block, float *out)
{
	float d = load_half(block + 208);

	for (int i = 0; i < 256; i++) {
		int half = i / 128, run = i % 128 / 32, at = i % 32;
		int low = block[half * 64 + run % 2 * 32 + at] >> (run / 2 * 4) & 15;
		int high = block[128 + half * 32 + at] >> (run * 2) & 3;
		int8_t scale = (int8_t)block[192 + i / 16];
		out[i] = d * (float)scale * (float)((low | high << 4) - 32);
	}
}

/* d, the upper two bits of the runs' scales, their lower four, then as IQ4_NL. */
static void expand_iq4_xs(const uint8_t *block, float *out)
{
	float d = load_half(block);
	uint16_t upper = load_u16(block + 2);

	for (int run = 0; run < 8; run++) {
		int low = block[4 + run / 2] >> (run % 2 * 4) & 15, high = upper >> (run * 2) & 3;
		float run_d = d * (float)((low | high << 4) - 32);
		const uint8_t *bytes = block + 8 + run * 16;
		for (int i = 0; i < 16; i++) {
			out[run * 32 + i] = run_d * (float)format_iq4_values[bytes[i] & 15];
			out[run * 32 + i + 16] = run_d * (float)format_iq4_values[bytes[i] >> 4];
		}
	}
}

void format_expand_block(ufm_format format, const uint8_t *block, float *out)
{
	switch ((int)format) {
	case UFM_FORMAT_Q8_0:
		expand_q8_0(block, out);
		return;
	case UFM_FORMAT_Q4_0:
		expand_q4_0(block, out);
		return;
	case UFM_FORMAT_Q5_0:
		expand_q5_0(block, out);
		return;
	case UFM_FORMAT_Q4_K:
		expand_k(block, NULL, block + 16, out);
		return;
	case UFM_FORMAT_Q5_K:
		expand_k(block, block + 16, block + 48, out);
		return;
	case UFM_FORMAT_Q6_K:
		expand_q6_k(block, out);
		return;
	case UFM_FORMAT_IQ4_NL:
		expand_iq4_nl(block, out);
		return;
	case UFM_FORMAT_IQ4_XS:
		expand_iq4_xs(block, out);
		return;
	case UFM_FORMAT_MXFP4:
		expand_mxfp4(block, out);
		return;
	default:
		assert(false && "a format whose blocks carry their scales");
	}
}
