/* SPDX-License-Identifier: MIT */
#include "support/coded_expert.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"
#include "format/format.h"

#define BLOCKS(format_) \
	{ \
		.name = #format_, .format = UFM_FORMAT_##format_ \
	}

const coded_storage coded_storages[] = {
	BLOCKS(Q8_0),
	BLOCKS(Q4_0),
	BLOCKS(Q5_0),
	BLOCKS(Q4_K),
	BLOCKS(Q5_K),
	BLOCKS(Q6_K),
	BLOCKS(IQ4_NL),
	BLOCKS(IQ4_XS),
	BLOCKS(MXFP4),
	{"E4M3", UFM_FORMAT_E4M3, 0, 128, 128, UFM_FORMAT_PLAIN, UFM_F32, false, false},
	{"E4M3, rows", UFM_FORMAT_E4M3, 0, 1, 1u << 20, UFM_FORMAT_PLAIN, UFM_BF16, false, false},
	{"E4M3, E8M0", UFM_FORMAT_E4M3, 0, 1, 32, UFM_FORMAT_E8M0, 0, false, false},
	{"E4M3, factor", UFM_FORMAT_E4M3, 0, 3, 48, UFM_FORMAT_PLAIN, UFM_F16, false, true},
	{"E2M1", UFM_FORMAT_E2M1, 0, 1, 16, UFM_FORMAT_E4M3, 0, false, true},
	{"E2M1, E8M0", UFM_FORMAT_E2M1, 0, 1, 32, UFM_FORMAT_E8M0, 0, false, false},
	{"U4", UFM_FORMAT_U4, 0, 1, 128, UFM_FORMAT_PLAIN, UFM_F16, true, false},
	{"U4, its own zero", UFM_FORMAT_U4, 0, 2, 80, UFM_FORMAT_PLAIN, UFM_F32, false, true},
	{.name = "F16", .dtype = UFM_F16},
};
const size_t coded_storage_count = sizeof coded_storages / sizeof coded_storages[0];

uint32_t coded_step(const coded_storage *s)
{
	const format_info *info = format_find((uint32_t)s->format);

	return info ? info->elements : 1;
}

/* ------------------------------------------------------------------ descriptions */

static uint32_t groups(uint32_t count, uint32_t group)
{
	return (count + group - 1) / group;
}

static void append(ufm_expert_desc *desc, ufm_part part)
{
	part.offset_bytes = (desc->expert_bytes + 63) / 64 * 64;
	desc->parts[desc->part_count++] = part;
	desc->expert_bytes = part.offset_bytes + format_part_bytes(&part);
	desc->block_bytes = (desc->expert_bytes + 4095) / 4096 * 4096;
}

/* The role of what is beside a matrix. */
static ufm_role beside(ufm_role first, ufm_role matrix)
{
	return (ufm_role)((int)first + ((int)matrix - UFM_ROLE_UP) / 2);
}

static void append_beside(ufm_expert_desc *desc, const coded_storage *s, const ufm_part *of)
{
	ufm_part scale = {.role = beside(UFM_ROLE_UP_SCALE, of->role),
	                  .dtype = s->scale_dtype,
	                  .format = s->scale_format,
	                  .rows = groups(of->rows, s->group_rows),
	                  .cols = groups(of->cols, s->group_cols)};
	ufm_part zero = scale;

	append(desc, scale);
	zero.role = beside(UFM_ROLE_UP_ZERO, of->role);
	zero.dtype = 0;
	zero.format = UFM_FORMAT_U8;
	if (s->zeros)
		append(desc, zero);
	if (s->factor)
		append(desc, (ufm_part){.role = beside(UFM_ROLE_UP_FACTOR, of->role),
		                        .dtype = UFM_F32,
		                        .rows = 1,
		                        .cols = 1});
}

ufm_expert_desc coded_expert_desc(const coded_storage *s, ufm_expert_kind kind, uint32_t d_model,
                                  uint32_t d_hidden)
{
	ufm_expert_desc plain = {.struct_size = sizeof plain}, desc;
	ufm_status status = ufm_expert_desc_init(&plain, kind, d_model, d_hidden, UFM_F32);

	assert(status == UFM_OK);
	(void)status;
	desc = plain;
	desc.part_count = 0;
	desc.expert_bytes = 0;
	for (uint32_t p = 0; p < plain.part_count; p++) {
		ufm_part part = {.role = plain.parts[p].role,
		                 .dtype = s->dtype,
		                 .format = s->format,
		                 .rows = plain.parts[p].rows,
		                 .cols = plain.parts[p].cols,
		                 .group_rows = s->group_rows,
		                 .group_cols = s->group_cols};
		append(&desc, part);
		if (s->group_rows)
			append_beside(&desc, s, &part);
	}
	return desc;
}

/* ------------------------------------------------------------------ bytes */

static void fill_any(uint8_t *at, uint64_t bytes, rng *r)
{
	for (uint64_t i = 0; i < bytes; i += sizeof(uint64_t)) {
		uint64_t any = rng_u64(r), left = bytes - i;
		memcpy(at + i, &any, left < sizeof any ? left : sizeof any);
	}
}

void coded_expert_any(const ufm_expert_desc *desc, void *block, uint64_t seed)
{
	rng r;

	rng_seed(&r, seed);
	for (uint32_t p = 0; p < desc->part_count; p++)
		fill_any((uint8_t *)block + desc->parts[p].offset_bytes, format_part_bytes(&desc->parts[p]),
		         &r);
}

static void put_half(uint8_t *at, double value)
{
	uint16_t bits = f16_from_f32((float)value);

	memcpy(at, &bits, sizeof bits);
}

/* What the largest element of a block is, its scale being 1. */
static double largest(ufm_format format)
{
	switch ((int)format) {
	case UFM_FORMAT_Q8_0:
		return 128;
	case UFM_FORMAT_Q4_0:
		return 8;
	case UFM_FORMAT_Q5_0:
		return 16;
	case UFM_FORMAT_Q4_K:
		return 63 * 15;
	case UFM_FORMAT_Q5_K:
		return 63 * 31;
	case UFM_FORMAT_Q6_K:
		return 128 * 32;
	case UFM_FORMAT_IQ4_NL:
		return 127;
	case UFM_FORMAT_IQ4_XS:
		return 32 * 127;
	case UFM_FORMAT_E4M3:
		return 448;
	case UFM_FORMAT_E2M1:
		return 6;
	default:
		return 16;
	}
}

/* A size up to `most`, at least a half of it, of either sign. */
static double any_scale(rng *r, double most)
{
	double size = most * (0.5 + 0.5 * rng_unit(r));

	return rng_below(r, 2) ? size : -size;
}

static void scale_block(const ufm_part *part, uint8_t *block, double size, rng *r)
{
	double scale = any_scale(r, size / largest((ufm_format)part->format));

	switch ((int)part->format) {
	case UFM_FORMAT_MXFP4:
		block[0] = (uint8_t)(128 + ilogb(size / 12));
		return;
	case UFM_FORMAT_Q6_K:
		put_half(block + 208, scale);
		return;
	case UFM_FORMAT_Q4_K:
	case UFM_FORMAT_Q5_K:
		put_half(block + 2, any_scale(r, size / 63 / 2));
		break;
	default:
		break;
	}
	put_half(block, scale);
}

static void usual_blocks(const ufm_part *part, uint8_t *at, double size, rng *r)
{
	const format_info *info = format_find(part->format);
	uint64_t bytes = format_part_bytes(part);

	fill_any(at, bytes, r);
	for (uint64_t i = 0; i < bytes && (info->uses & FORMAT_WEIGHTS); i += info->bytes)
		scale_block(part, at + i, size, r);
	for (uint64_t i = 0; i < bytes && part->format == UFM_FORMAT_E4M3; i++)
		at[i] = (at[i] & 0x7f) == 0x7f ? 0 : at[i];
	for (uint64_t i = 0; i < bytes && part->format == UFM_FORMAT_U8; i++)
		at[i] &= 15;
}

static void usual_scales(const ufm_part *part, uint8_t *at, double size, rng *r)
{
	for (uint64_t i = 0; i < (uint64_t)part->rows * part->cols; i++) {
		double scale = any_scale(r, size);
		if (part->format == UFM_FORMAT_E8M0)
			at[i] = (uint8_t)(127 + ilogb(scale));
		else if (part->format == UFM_FORMAT_E4M3)
			at[i] = (uint8_t)(40 + rng_below(r, 16));
		else if (part->dtype == UFM_F32)
			((float *)(void *)at)[i] = (float)scale;
		else
			((uint16_t *)(void *)at)[i] =
				part->dtype == UFM_BF16 ? bf16_from_f32((float)scale) : f16_from_f32((float)scale);
	}
}

void coded_expert_usual(const ufm_expert_desc *desc, void *block, uint64_t seed)
{
	const ufm_part *matrix = NULL;
	rng r;

	rng_seed(&r, seed);
	for (uint32_t p = 0; p < desc->part_count; p++) {
		const ufm_part *part = &desc->parts[p];
		uint8_t *at = (uint8_t *)block + part->offset_bytes;
		if (part->role < UFM_ROLE_UP_SCALE)
			matrix = part;
		double size = 1.7 / sqrt(matrix->cols);
		/* What is beside a matrix follows it. */
		if (part->role >= UFM_ROLE_UP_SCALE && part->role < UFM_ROLE_UP_ZERO)
			usual_scales(part, at, size / largest((ufm_format)matrix->format), &r);
		else if (part->role >= UFM_ROLE_UP_FACTOR)
			*(float *)(void *)at = 0.75f;
		else if (part->format)
			usual_blocks(part, at, size, &r);
		else
			usual_scales(part, at, size, &r);
	}
}

/* ------------------------------------------------------------------ f32 */

ufm_expert_desc coded_expert_plain(const ufm_expert_desc *desc)
{
	ufm_expert_desc plain = *desc;

	plain.part_count = 0;
	plain.expert_bytes = 0;
	for (uint32_t p = 0; p < desc->part_count; p++) {
		const ufm_part *part = &desc->parts[p];
		if (part->role < UFM_ROLE_UP_SCALE)
			append(&plain, (ufm_part){.role = part->role,
			                          .dtype = UFM_F32,
			                          .rows = part->rows,
			                          .cols = part->cols});
	}
	return plain;
}

void coded_expert_expand(const ufm_expert_desc *desc, const void *block,
                         const ufm_expert_desc *plain, void *out)
{
	for (uint32_t p = 0; p < plain->part_count; p++) {
		void *at = (uint8_t *)out + plain->parts[p].offset_bytes;
		ufm_status status = ufm_expert_expand(desc, block, plain->parts[p].role, at);
		assert(status == UFM_OK);
		(void)status;
	}
}
