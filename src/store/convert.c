/* SPDX-License-Identifier: MIT */
/* Weights on their way from a file's type to ours. */
#include "store/convert_int.h"

#include <string.h>

#include "base/bf16.h"
#include "base/f16.h"

static void halves_to_f32(const uint16_t *in, uint64_t count, uint8_t *out)
{
	for (uint64_t i = 0; i < count; i++) {
		float value = f16_to_f32(in[i]);

		memcpy(out + i * sizeof value, &value, sizeof value);
	}
}

static void halves_to_bf16(const uint16_t *in, uint64_t count, uint8_t *out)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t value = bf16_from_f32(f16_to_f32(in[i]));

		memcpy(out + i * sizeof value, &value, sizeof value);
	}
}

void convert_f16(const uint16_t *in, uint64_t count, ufm_dtype to, void *out)
{
	if (to == UFM_F32)
		halves_to_f32(in, count, out);
	else
		halves_to_bf16(in, count, out);
}

void convert_bf16(const uint16_t *in, uint64_t count, float *out)
{
	for (uint64_t i = 0; i < count; i++)
		out[i] = bf16_to_f32(in[i]);
}
