/* SPDX-License-Identifier: MIT */
/* How weights are stored: the table of storage formats, and what their elements are worth as f32. Pure. This is the
 * definition; kernels that expand faster give the same bits. docs/formats.md says it in words. */
#ifndef UFM_FORMAT_FORMAT_H
#define UFM_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/ufm.h>

/* No format has a longer block, and every block divides it. */
#define FORMAT_STRIP 256u

/* What a format may be used for. */
typedef enum format_use {
	FORMAT_WEIGHTS = 1,        /* a matrix whose blocks carry their scales */
	FORMAT_SCALED_WEIGHTS = 2, /* a matrix that a part beside it scales */
	FORMAT_SCALES = 4,
	FORMAT_ZEROS = 8,
} format_use;

typedef struct format_info {
	ufm_format format;
	const char *name;
	uint32_t elements, bytes; /* of a block */
	uint32_t uses;            /* of format_use */
} format_info;

/* NULL: plain, or unknown. */
const format_info *format_find(uint32_t format);
/* From 0; NULL past the end. */
const format_info *format_at(uint32_t index);

/* Bytes of a row of a part; 0 where its format is unknown or its columns are no whole number of blocks. */
uint64_t format_row_bytes(const ufm_part *part);
static inline uint64_t format_part_bytes(const ufm_part *part)
{
	return part->rows * format_row_bytes(part);
}

/* Whether a matrix is scaled by a part beside it. */
static inline bool format_is_scaled(const ufm_part *part)
{
	const format_info *info = format_find(part->format);

	return info && (info->uses & FORMAT_SCALED_WEIGHTS);
}

/* A matrix in the bytes of an expert, with all that scales it. */
typedef struct format_matrix {
	const ufm_part *part;
	const uint8_t *data;
	uint64_t row_bytes;
	/* NULL where the format has none beside it */
	const ufm_part *scale;
	const uint8_t *scales;
	const uint8_t *zeros; /* NULL: the format's own zero */
	float factor;         /* 1 where there is none */
} format_matrix;

/* The part with a role, which the description has, of a block that lies at `block`. */
format_matrix format_matrix_of(const ufm_expert_desc *desc, const void *block, ufm_role role);

/* out[i] is element (row, first + i) as f32 for i in 0 … count-1. `first` is a multiple of FORMAT_STRIP, and first + count one
 * of a block's elements or the end of the row. */
void format_expand(const format_matrix *m, uint32_t row, uint32_t first, uint32_t count,
                   float *out);

/* Scale times factor of the group that element (row, col) belongs to, rounded to f32; and its zero point. */
float format_scale(const format_matrix *m, uint32_t row, uint32_t col);
float format_zero(const format_matrix *m, uint32_t row, uint32_t col);

/* One element as f32. */
float format_from_e4m3(uint8_t bits);
float format_from_e8m0(uint8_t bits);
float format_from_e2m1(uint8_t bits); /* the low four */

/* The sixteen values of IQ4_NL and IQ4_XS. */
extern const int8_t format_iq4_values[16];
/* And of MXFP4: twice what they stand for. */
extern const int8_t format_mxfp4_values[16];

#endif
