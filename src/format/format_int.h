/* SPDX-License-Identifier: MIT */
/* What the files of this folder share. */
#ifndef UFM_FORMAT_FORMAT_INT_H
#define UFM_FORMAT_FORMAT_INT_H

#include <string.h>

#include "base/f16.h"
#include "format/format.h"

static inline uint16_t load_u16(const uint8_t *at)
{
	uint16_t bits;

	memcpy(&bits, at, sizeof bits);
	return bits;
}

static inline float load_half(const uint8_t *at)
{
	return f16_to_f32(load_u16(at));
}

/* One block that carries its scales, as f32. */
void format_expand_block(ufm_format format, const uint8_t *block, float *out);

#endif
