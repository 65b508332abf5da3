/* SPDX-License-Identifier: MIT */
/* Weights made from a seed: the same on every machine, in any order, on any number of threads. */
#include <math.h>
#include <string.h>

#include "base/f16.h"
#include "base/rng.h"
#include "format/format.h"
#include "store/synthetic_int.h"

#define BIAS_SCALE 0.02f

/* The generator counts elements in 32 bits; a matrix may have 2^40. So each run of RUN_ELEMENTS has
 * a key of its own, the first run that of the part. */
#define RUN_ELEMENTS (UINT64_C(1) << 32)

static uint64_t run_key(uint64_t part_key, uint64_t run)
{
	return run ? rng_mix(part_key, run) : part_key;
}

static void fill_f16(uint16_t *out, size_t count, uint64_t key, float scale)
{
	float piece[256];

	for (size_t done = 0; done < count; done += 256) {
		size_t n = count - done < 256 ? count - done : 256;

		rng_fill_f32(piece, n, key, (uint32_t)done, scale);
		for (size_t i = 0; i < n; i++)
			out[done + i] = f16_from_f32(piece[i]);
	}
}

static void fill_run(ufm_dtype dtype, void *out, size_t count, uint64_t key, float scale)
{
	if (dtype == UFM_BF16)
		rng_fill_bf16(out, count, key, 0, scale);
	else if (dtype == UFM_F16)
		fill_f16(out, count, key, scale);
	else
		rng_fill_f32(out, count, key, 0, scale);
}

/* A uniform variable in ±s has variance s²/3, so s = sqrt(3/fan_in) gives 1/fan_in: outputs keep
 * the magnitude of inputs through any number of layers. */
static float part_scale(const ufm_part *part)
{
	switch (part->role) {
	case UFM_ROLE_UP_BIAS:
	case UFM_ROLE_GATE_BIAS:
	case UFM_ROLE_DOWN_BIAS:
		return BIAS_SCALE;
	default:
		return (float)sqrt(3.0 / part->cols);
	}
}

static void fill_plain(const ufm_part *part, uint64_t key, uint8_t *block)
{
	uint64_t count = (uint64_t)part->rows * part->cols;
	size_t element_bytes = ufm_dtype_bytes(part->dtype);
	uint8_t *out = block + part->offset_bytes;

	for (uint64_t run = 0; run * RUN_ELEMENTS < count; run++) {
		uint64_t first = run * RUN_ELEMENTS;
		uint64_t n = count - first < RUN_ELEMENTS ? count - first : RUN_ELEMENTS;

		fill_run(part->dtype, out + first * element_bytes, n, run_key(key, run), part_scale(part));
	}
}

/* Zeroes what lies between `from` and the next part, or the end of the payload. */
static void zero_gap(const ufm_expert_desc *desc, uint64_t from, uint8_t *block)
{
	uint64_t to = desc->expert_bytes;

	for (uint32_t i = 0; i < desc->part_count; i++) {
		uint64_t offset = desc->parts[i].offset_bytes;

		if (offset >= from && offset < to)
			to = offset;
	}
	memset(block + from, 0, to - from);
}

void synthetic_fill(const ufm_expert_desc *desc, uint64_t seed, void *block)
{
	zero_gap(desc, 0, block);
	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		uint64_t key = rng_mix(seed, (uint64_t)part->role);

		if (part->format || part->role >= UFM_ROLE_UP_SCALE)
			synthetic_fill_coded(desc, part, key, (uint8_t *)block + part->offset_bytes);
		else
			fill_plain(part, key, block);
		zero_gap(desc, part->offset_bytes + format_part_bytes(part), block);
	}
}
