/* SPDX-License-Identifier: MIT */
/* Experts in files in the layouts in which checkpoints are published, and where their parts lie there. */
#include "support/files_bank.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/plain_strided.h"

/* Room for two of the part: gate and up share that of the gate. */
static uint64_t region_bytes(const files_bank *b)
{
	uint64_t matrix = (uint64_t)b->desc.d_model * b->desc.d_hidden;

	return 2 * matrix * ufm_dtype_bytes(UFM_F32);
}

static bool is_down(const ufm_part *part)
{
	if (part->role >= UFM_ROLE_UP_SCALE)
		return (part->role - UFM_ROLE_UP_SCALE) % 3 == 2;
	return part->role == UFM_ROLE_DOWN || part->role == UFM_ROLE_DOWN_BIAS;
}

static ufm_dtype dtype_in_file(const files_bank *b, const ufm_part *part)
{
	if (part->format)
		return (ufm_dtype)0;
	return part->dtype == UFM_F16 ? UFM_F16 : b->from;
}

/* Of a row, in what strides count. */
static uint64_t units(const ufm_part *part)
{
	return part->format ? ufm_format_bytes((ufm_format)part->format, part->cols) : part->cols;
}

static void place(const files_bank *b, uint32_t key, uint32_t index, ufm_extent *e)
{
	const ufm_part *part = &b->desc.parts[index];
	bool second = part->role == UFM_ROLE_UP && b->desc.parts[0].role == UFM_ROLE_GATE;
	uint32_t region = second ? 0 : index;
	uint64_t step = second, rows = part->rows, cols = units(part);
	ufm_dtype from = dtype_in_file(b, part);
	uint64_t at = b->lead_bytes + (key * b->desc.part_count + region) * region_bytes(b);

	assert(!part->format || b->layout <= FILES_SECOND_ROWS);
	*e = (ufm_extent){.file = is_down(part), .dtype = from};
	switch (b->layout) {
	case FILES_ROWS:
		step *= rows * cols;
		break;
	case FILES_SLICES:
		step *= rows * cols;
		e->row_stride = cols;
		e->col_stride = !part->format;
		break;
	case FILES_SECOND_ROWS:
		step *= cols;
		e->row_stride = 2 * cols;
		e->col_stride = 1;
		break;
	case FILES_TRANSPOSED:
		step *= rows;
		e->row_stride = 1;
		e->col_stride = 2 * rows;
		break;
	default:
		e->row_stride = 2;
		e->col_stride = 2 * rows;
	}
	e->offset_bytes = at + step * plain_strided_unit(from);
}

static void fill_image(uint8_t *image, uint64_t size_bytes, rng *r)
{
	for (uint64_t at = 0; at < size_bytes; at += sizeof(uint64_t)) {
		uint64_t word = rng_u64(r), left = size_bytes - at;

		memcpy(image + at, &word, left < sizeof word ? left : sizeof word);
	}
}

void files_bank_make(files_bank *b, uint64_t seed)
{
	uint32_t parts = b->desc.part_count, count = b->layers * b->experts * parts;
	rng r;

	assert(count <= FILES_EXTENTS_MAX);
	rng_seed(&r, seed);
	for (uint32_t i = 0; i < count; i++)
		place(b, i / parts, i % parts, &b->extents[i]);
	b->size_bytes = b->lead_bytes + count * region_bytes(b);
	for (int i = 0; i < FILES_COUNT; i++) {
		b->images[i] = malloc(b->size_bytes);
		assert(b->images[i]);
		fill_image(b->images[i], b->size_bytes, &r);
	}
}

void files_bank_write(files_bank *b, const char *folder)
{
	for (int i = 0; i < FILES_COUNT; i++) {
		FILE *file;

		snprintf(b->paths[i], sizeof b->paths[i], "%s/part%d.bin", folder, i);
		b->path_list[i] = b->paths[i];
		file = fopen(b->paths[i], "wb");
		if (!file || fwrite(b->images[i], 1, b->size_bytes, file) != b->size_bytes ||
		    fclose(file)) {
			perror(b->paths[i]);
			abort();
		}
	}
}

void files_bank_free(files_bank *b)
{
	for (int i = 0; i < FILES_COUNT; i++)
		free(b->images[i]);
}

ufm_bank_files_config files_bank_config(files_bank *b)
{
	return (ufm_bank_files_config){.struct_size = sizeof(ufm_bank_files_config),
	                               .layers = b->layers,
	                               .experts = b->experts,
	                               .desc = &b->desc,
	                               .paths = b->path_list,
	                               .path_count = FILES_COUNT,
	                               .extents = b->extents,
	                               .extent_bytes = sizeof(ufm_extent)};
}

static plain_strided shape_of(const ufm_extent *e, const ufm_part *part)
{
	bool said = e->row_stride || e->col_stride;

	return (plain_strided){.from = e->dtype,
	                       .to = part->dtype,
	                       .rows = part->rows,
	                       .cols = units(part),
	                       .row_stride = said ? e->row_stride : units(part),
	                       .col_stride = said && e->col_stride ? e->col_stride : 1};
}

void files_bank_expect(const files_bank *b, uint32_t key, uint8_t *block)
{
	memset(block, 0, b->desc.expert_bytes);
	for (uint32_t i = 0; i < b->desc.part_count; i++) {
		const ufm_part *part = &b->desc.parts[i];
		const ufm_extent *e = &b->extents[key * b->desc.part_count + i];
		plain_strided m = shape_of(e, part);

		plain_strided_read(&m, b->images[e->file] + e->offset_bytes, block + part->offset_bytes);
	}
}

void files_bank_put(files_bank *b, uint32_t key, const uint8_t *block)
{
	for (uint32_t i = 0; i < b->desc.part_count; i++) {
		const ufm_part *part = &b->desc.parts[i];
		const ufm_extent *e = &b->extents[key * b->desc.part_count + i];
		plain_strided m = shape_of(e, part);
		uint64_t size = plain_strided_unit(e->dtype);

		assert(m.from == m.to);
		for (uint64_t row = 0; row < m.rows; row++) {
			for (uint64_t col = 0; col < m.cols; col++)
				memcpy(b->images[e->file] + e->offset_bytes +
				           (row * m.row_stride + col * m.col_stride) * size,
				       block + part->offset_bytes + (row * m.cols + col) * size, size);
		}
	}
}
