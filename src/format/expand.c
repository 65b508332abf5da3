/* SPDX-License-Identifier: MIT */
/* A row of a matrix in any format as f32. */
#include <assert.h>
#include <math.h>

#include "base/bf16.h"
#include "format/format_int.h"

float format_from_e4m3(uint8_t bits)
{
	int exponent = bits >> 3 & 15, fraction = bits & 7;
	float size =
		exponent ? ldexpf((float)(8 + fraction), exponent - 10) : ldexpf((float)fraction, -9);

	if (exponent == 15 && fraction == 7)
		size = NAN;
	return bits & 0x80 ? -size : size;
}

float format_from_e8m0(uint8_t bits)
{
	return bits == 255 ? NAN : ldexpf(1.0f, bits - 127);
}

float format_from_e2m1(uint8_t bits)
{
	static const float sizes[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

	return bits & 8 ? -sizes[bits & 7] : sizes[bits & 7];
}

static float plain_element(ufm_dtype dtype, const uint8_t *data, uint64_t i)
{
	float value;

	switch (dtype) {
	case UFM_F32:
		memcpy(&value, data + i * sizeof value, sizeof value);
		return value;
	case UFM_BF16:
		return bf16_to_f32(load_u16(data + i * 2));
	case UFM_F16:
		break;
	}
	return load_half(data + i * 2);
}

/* The part that a matrix has beside it, or NULL: scales and their like are numbered as the matrices are. */
static const ufm_part *part_beside(const ufm_expert_desc *desc, ufm_role role, ufm_role first)
{
	int matrix = ((int)role - UFM_ROLE_UP) / 2;

	return ufm_expert_part(desc, (ufm_role)((int)first + matrix));
}

static const uint8_t *part_data(const ufm_part *part, const void *block)
{
	return part ? (const uint8_t *)block + part->offset_bytes : NULL;
}

format_matrix format_matrix_of(const ufm_expert_desc *desc, const void *block, ufm_role role)
{
	const ufm_part *part = ufm_expert_part(desc, role);
	format_matrix m = {.part = part, .factor = 1.0f};

	assert(part);
	m.data = part_data(part, block);
	m.row_bytes = format_row_bytes(part);
	if (!format_is_scaled(part))
		return m;
	const ufm_part *factor = part_beside(desc, role, UFM_ROLE_UP_FACTOR);
	m.scale = part_beside(desc, role, UFM_ROLE_UP_SCALE);
	m.scales = part_data(m.scale, block);
	m.zeros = part_data(part_beside(desc, role, UFM_ROLE_UP_ZERO), block);
	if (factor)
		m.factor = plain_element(UFM_F32, part_data(factor, block), 0);
	return m;
}

static uint64_t group_of(const format_matrix *m, uint32_t row, uint32_t col)
{
	return (uint64_t)(row / m->part->group_rows) * m->scale->cols + col / m->part->group_cols;
}

float format_scale(const format_matrix *m, uint32_t row, uint32_t col)
{
	uint64_t at = group_of(m, row, col);
	float scale = m->scale->format == UFM_FORMAT_E8M0 ? format_from_e8m0(m->scales[at])
	              : m->scale->format == UFM_FORMAT_E4M3
	                  ? format_from_e4m3(m->scales[at])
	                  : plain_element(m->scale->dtype, m->scales, at);

	return scale * m->factor;
}

float format_zero(const format_matrix *m, uint32_t row, uint32_t col)
{
	if (m->zeros)
		return (float)m->zeros[group_of(m, row, col)];
	return m->part->format == UFM_FORMAT_U4 ? 8.0f : 0.0f;
}

static float value_at(uint32_t format, const uint8_t *row, uint32_t col)
{
	uint8_t four = (uint8_t)(row[col / 2] >> (col % 2 * 4) & 15);

	switch (format) {
	case UFM_FORMAT_E4M3:
		return format_from_e4m3(row[col]);
	case UFM_FORMAT_E2M1:
		return format_from_e2m1(four);
	default:
		return (float)four;
	}
}

static void expand_scaled(const format_matrix *m, uint32_t row, uint32_t first, uint32_t count,
                          float *out)
{
	const uint8_t *bytes = m->data + row * m->row_bytes;
	uint32_t group_cols = m->part->group_cols;

	for (uint32_t i = 0; i < count;) {
		uint32_t col = first + i, left = group_cols - col % group_cols;
		uint32_t end = left < count - i ? i + left : count;
		float scale = format_scale(m, row, col), zero = format_zero(m, row, col);
		for (; i < end; i++)
			out[i] = (value_at(m->part->format, bytes, first + i) - zero) * scale;
	}
}

static void expand_blocks(const format_matrix *m, uint32_t row, uint32_t first, uint32_t count,
                          float *out)
{
	const format_info *info = format_find(m->part->format);
	const uint8_t *block = m->data + row * m->row_bytes + first / info->elements * info->bytes;

	for (uint32_t i = 0; i < count; i += info->elements, block += info->bytes)
		format_expand_block(info->format, block, out + i);
}

void format_expand(const format_matrix *m, uint32_t row, uint32_t first, uint32_t count, float *out)
{
	if (m->scale) {
		expand_scaled(m, row, first, count, out);
		return;
	}
	if (m->part->format) {
		expand_blocks(m, row, first, count, out);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		out[i] = plain_element(m->part->dtype, m->data + row * m->row_bytes, first + i);
}
