/* SPDX-License-Identifier: MIT */
/* Weights on their way from a file's type to ours. */
#include "store/convert_int.h"

#include <assert.h>
#include <string.h>

#include "base/bf16.h"
#include "base/dtype.h"
#include "base/f16.h"

static inline uint16_t load_half(const void *in, uint64_t i)
{
	uint16_t bits;

	memcpy(&bits, (const uint8_t *)in + i * sizeof bits, sizeof bits);
	return bits;
}

static inline float load_f32(const void *in, uint64_t i)
{
	float value;

	memcpy(&value, (const uint8_t *)in + i * sizeof value, sizeof value);
	return value;
}

static inline void store_f32(void *out, uint64_t i, float value)
{
	memcpy((uint8_t *)out + i * sizeof value, &value, sizeof value);
}

static inline void store_bf16(void *out, uint64_t i, float value)
{
	uint16_t bits = bf16_from_f32(value);

	memcpy((uint8_t *)out + i * sizeof bits, &bits, sizeof bits);
}

static void copy_bytes(const void *in, uint64_t count, void *out)
{
	memcpy(out, in, count);
}

static void copy_f32(const void *in, uint64_t count, void *out)
{
	memcpy(out, in, count * sizeof(float));
}

static void copy_halves(const void *in, uint64_t count, void *out)
{
	memcpy(out, in, count * sizeof(uint16_t));
}

static void f16_as_f32(const void *in, uint64_t count, void *out)
{
	for (uint64_t i = 0; i < count; i++)
		store_f32(out, i, f16_to_f32(load_half(in, i)));
}

static void f16_as_bf16(const void *in, uint64_t count, void *out)
{
	for (uint64_t i = 0; i < count; i++)
		store_bf16(out, i, f16_to_f32(load_half(in, i)));
}

static void bf16_as_f32(const void *in, uint64_t count, void *out)
{
	for (uint64_t i = 0; i < count; i++)
		store_f32(out, i, bf16_to_f32(load_half(in, i)));
}

static void f32_as_bf16(const void *in, uint64_t count, void *out)
{
	for (uint64_t i = 0; i < count; i++)
		store_bf16(out, i, load_f32(in, i));
}

convert_fn convert_find(ufm_dtype from, ufm_dtype to)
{
	assert(from == to || (ufm_dtype_bytes(from) && dtype_is_computed(to)));
	if (!from)
		return copy_bytes;
	switch (from) {
	case UFM_F32:
		return to == UFM_F32 ? copy_f32 : f32_as_bf16;
	case UFM_BF16:
		return to == UFM_F32 ? bf16_as_f32 : copy_halves;
	case UFM_F16:
		break;
	}
	if (to == UFM_F16)
		return copy_halves;
	return to == UFM_F32 ? f16_as_f32 : f16_as_bf16;
}
