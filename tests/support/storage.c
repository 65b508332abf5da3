/* SPDX-License-Identifier: MIT */
/* Every way in which an expert's matrices may be stored, and the same expert in f32. */
#include "support/storage.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank.h"
#include "base/rng.h"
#include "format/format.h"
#include "store/synthetic_int.h"

#define BLOCKS(name_) \
	{ \
		.name = #name_, .format = UFM_FORMAT_##name_ \
	}

const storage storages[] = {
	{.name = "F16", .dtype = UFM_F16},
	BLOCKS(Q8_0),
	BLOCKS(Q4_0),
	BLOCKS(Q5_0),
	BLOCKS(Q4_K),
	BLOCKS(Q5_K),
	BLOCKS(Q6_K),
	BLOCKS(IQ4_NL),
	BLOCKS(IQ4_XS),
	BLOCKS(MXFP4),
	{.name = "E4M3, f32 for 128 x 128",
     .format = UFM_FORMAT_E4M3,
     .scale_dtype = UFM_F32,
     .group_rows = 128,
     .group_cols = 128},
	{.name = "E4M3, bf16 for 100 x 48",
     .format = UFM_FORMAT_E4M3,
     .scale_dtype = UFM_BF16,
     .group_rows = 100,
     .group_cols = 48},
	{.name = "E4M3, bf16 a row",
     .format = UFM_FORMAT_E4M3,
     .scale_dtype = UFM_BF16,
     .group_rows = 1,
     .group_cols = UINT32_MAX},
	{.name = "E4M3, one f32",
     .format = UFM_FORMAT_E4M3,
     .scale_dtype = UFM_F32,
     .group_rows = UINT32_MAX,
     .group_cols = UINT32_MAX},
	{.name = "E4M3, E8M0 for 1 x 32",
     .format = UFM_FORMAT_E4M3,
     .scale_format = UFM_FORMAT_E8M0,
     .group_rows = 1,
     .group_cols = 32},
	{.name = "E4M3, f16 for 3 x 48 and a factor",
     .format = UFM_FORMAT_E4M3,
     .scale_dtype = UFM_F16,
     .group_rows = 3,
     .group_cols = 48,
     .factor = true},
	{.name = "E2M1, E8M0 for 1 x 32",
     .format = UFM_FORMAT_E2M1,
     .scale_format = UFM_FORMAT_E8M0,
     .group_rows = 1,
     .group_cols = 32},
	{.name = "E2M1, E4M3 for 1 x 16 and a factor",
     .format = UFM_FORMAT_E2M1,
     .scale_format = UFM_FORMAT_E4M3,
     .group_rows = 1,
     .group_cols = 16,
     .factor = true},
	{.name = "U4, f16 for 1 x 128 and zero points",
     .format = UFM_FORMAT_U4,
     .scale_dtype = UFM_F16,
     .group_rows = 1,
     .group_cols = 128,
     .zeros = true},
	{.name = "U4, bf16 for 1 x 32",
     .format = UFM_FORMAT_U4,
     .scale_dtype = UFM_BF16,
     .group_rows = 1,
     .group_cols = 32},
	{.name = "U4, f32 for 2 x 80 and a factor",
     .format = UFM_FORMAT_U4,
     .scale_dtype = UFM_F32,
     .group_rows = 2,
     .group_cols = 80,
     .factor = true},
	{.name = "U4, f32 for 2 x 64, zero points and a factor",
     .format = UFM_FORMAT_U4,
     .scale_dtype = UFM_F32,
     .group_rows = 2,
     .group_cols = 64,
     .zeros = true,
     .factor = true},
};
const size_t storage_count = sizeof storages / sizeof storages[0];

uint32_t storage_step(const storage *s)
{
	const format_info *info = format_find((uint32_t)s->format);

	return info ? info->elements : 1;
}

/* ------------------------------------------------------------------ descriptions */

static bool is_matrix(ufm_role role)
{
	return role == UFM_ROLE_UP || role == UFM_ROLE_GATE || role == UFM_ROLE_DOWN;
}

static uint64_t up_to(uint64_t value, uint64_t step)
{
	return (value + step - 1) / step * step;
}

static void append(ufm_expert_desc *desc, ufm_part part)
{
	assert(desc->part_count < UFM_PARTS_MAX);
	part.offset_bytes = up_to(desc->expert_bytes, 64);
	desc->parts[desc->part_count++] = part;
	desc->expert_bytes = part.offset_bytes + format_part_bytes(&part);
	desc->block_bytes = up_to(desc->expert_bytes, 4096);
}

static uint32_t groups(uint32_t count, uint32_t group)
{
	return count / group + (count % group != 0);
}

static void append_beside(ufm_expert_desc *desc, const storage *s, const ufm_part *matrix)
{
	uint32_t number = ((uint32_t)matrix->role - UFM_ROLE_UP) / 2;
	ufm_part part = {.rows = groups(matrix->rows, s->group_rows),
	                 .cols = groups(matrix->cols, s->group_cols)};

	part.role = (ufm_role)(UFM_ROLE_UP_SCALE + number);
	part.dtype = s->scale_dtype;
	part.format = s->scale_format;
	append(desc, part);
	part.role = (ufm_role)(UFM_ROLE_UP_ZERO + number);
	part.dtype = (ufm_dtype)0;
	part.format = UFM_FORMAT_U8;
	if (s->zeros)
		append(desc, part);
	part = (ufm_part){
		.role = (ufm_role)(UFM_ROLE_UP_FACTOR + number), .dtype = UFM_F32, .rows = 1, .cols = 1};
	if (s->factor)
		append(desc, part);
}

static void no_parts(ufm_expert_desc *desc)
{
	memset(desc->parts, 0, sizeof desc->parts);
	desc->part_count = 0;
	desc->expert_bytes = desc->block_bytes = 0;
}

void storage_apply(const storage *s, ufm_expert_desc *desc)
{
	const ufm_expert_desc before = *desc;

	no_parts(desc);
	for (uint32_t i = 0; i < before.part_count; i++) {
		ufm_part part = before.parts[i];
		if (is_matrix(part.role)) {
			part.dtype = s->dtype;
			part.format = s->format;
			part.group_rows = s->group_rows;
			part.group_cols = s->group_cols;
		}
		append(desc, part);
		if (is_matrix(part.role) && s->group_rows)
			append_beside(desc, s, &part);
	}
}

ufm_expert_desc storage_desc(const storage *s, ufm_expert_kind kind, uint32_t d_model,
                             uint32_t d_hidden)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	if (ufm_expert_desc_init(&desc, kind, d_model, d_hidden, UFM_F32))
		abort();
	storage_apply(s, &desc);
	return desc;
}

bool storage_is_read(const storage *s, uint32_t dtypes, uint64_t formats)
{
	return (formats >> s->format & 1u) && (s->format || (dtypes >> s->dtype & 1u));
}

/* ------------------------------------------------------------------ bytes */

void storage_fill_any(const ufm_expert_desc *desc, void *block, uint64_t seed)
{
	rng r;

	rng_seed(&r, seed);
	for (uint32_t i = 0; i < desc->part_count; i++) {
		uint8_t *at = (uint8_t *)block + desc->parts[i].offset_bytes;
		uint64_t size_bytes = format_part_bytes(&desc->parts[i]);
		for (uint64_t b = 0; b < size_bytes; b++)
			at[b] = (uint8_t)rng_u64(&r);
	}
}

/* Turns the sign of every other number on average: of those whose highest bytes stand at `first`, `first + step`, … */
static void turn_some(rng *r, uint8_t *at, uint64_t size_bytes, uint64_t first, uint64_t step)
{
	for (uint64_t b = first; b < size_bytes; b += step)
		at[b] ^= (uint8_t)(rng_below(r, 2) << 7);
}

/* A block's scale is a half at its begin, that of Q6_K behind all else; that of minima, in the same two, follows. */
static void turn_scales_of_blocks(rng *r, const ufm_part *part, uint8_t *at)
{
	uint64_t size_bytes = format_part_bytes(part), step = format_find(part->format)->bytes;

	if (part->format == UFM_FORMAT_MXFP4) /* a power of two has no sign */
		return;
	turn_some(r, at, size_bytes, part->format == UFM_FORMAT_Q6_K ? 209 : 1, step);
	if (part->format == UFM_FORMAT_Q4_K || part->format == UFM_FORMAT_Q5_K)
		turn_some(r, at, size_bytes, 3, step);
}

static void turn_scales(rng *r, const ufm_part *part, uint8_t *at)
{
	uint64_t step = part->format ? 1 : ufm_dtype_bytes(part->dtype);

	if (is_matrix(part->role) && part->format && !format_is_scaled(part))
		turn_scales_of_blocks(r, part, at);
	if (part->role >= UFM_ROLE_UP_SCALE && part->role < UFM_ROLE_UP_ZERO &&
	    part->format != UFM_FORMAT_E8M0)
		turn_some(r, at, format_part_bytes(part), step - 1, step);
}

void storage_fill(const ufm_expert_desc *desc, void *block, uint64_t seed)
{
	rng r;

	synthetic_fill(desc, seed, block);
	rng_seed(&r, seed);
	for (uint32_t i = 0; i < desc->part_count; i++)
		turn_scales(&r, &desc->parts[i], (uint8_t *)block + desc->parts[i].offset_bytes);
}

/* ------------------------------------------------------------------ f32 */

ufm_expert_desc storage_plain_desc(const ufm_expert_desc *desc)
{
	ufm_expert_desc plain = *desc;

	no_parts(&plain);
	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		if (part->role < UFM_ROLE_UP_SCALE)
			append(&plain, (ufm_part){.role = part->role,
			                          .dtype = UFM_F32,
			                          .rows = part->rows,
			                          .cols = part->cols});
	}
	return plain;
}

void storage_expand(const ufm_expert_desc *desc, const void *block, const ufm_expert_desc *plain,
                    void *out)
{
	for (uint32_t i = 0; i < plain->part_count; i++) {
		void *at = (char *)out + plain->parts[i].offset_bytes;
		if (ufm_expert_expand(desc, block, plain->parts[i].role, at))
			abort();
	}
}

static void *new_block(const ufm_expert_desc *desc)
{
	void *block = aligned_alloc(4096, desc->block_bytes);

	if (!block)
		abort();
	memset(block, 0, desc->block_bytes);
	return block;
}

void storage_memory_open(ufm_bank *coded, storage_memory *m)
{
	const bank_shape *shape = bank_get_shape(coded);
	void *block = new_block(&shape->desc);

	m->desc = storage_plain_desc(&shape->desc);
	m->keys = shape->layers * shape->experts;
	m->blocks = calloc(m->keys, sizeof *m->blocks);
	for (uint32_t key = 0; m->blocks && key < m->keys; key++) {
		m->blocks[key] = new_block(&m->desc);
		if (ufm_bank_read(coded, key / shape->experts, key % shape->experts, block))
			abort();
		storage_expand(&shape->desc, block, &m->desc, m->blocks[key]);
	}
	free(block);
	const ufm_bank_memory_config config = {.struct_size = sizeof config,
	                                       .layers = shape->layers,
	                                       .experts = shape->experts,
	                                       .desc = &m->desc,
	                                       .blocks = (const void *const *)m->blocks};
	if (ufm_bank_memory(&config, &m->bank))
		abort();
}

void storage_memory_close(storage_memory *m)
{
	ufm_bank_close(m->bank);
	for (uint32_t key = 0; key < m->keys; key++)
		free(m->blocks[key]);
	free(m->blocks);
}
