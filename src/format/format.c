/* SPDX-License-Identifier: MIT */
/* The table of storage formats. */
#include "format/format.h"

#define BLOCK(name_, elements_, bytes_) \
	{ \
		.format = UFM_FORMAT_##name_, .name = #name_, .elements = (elements_), .bytes = (bytes_), \
		.uses = FORMAT_WEIGHTS \
	}
#define VALUES(name_, elements_, uses_) \
	{ \
		.format = UFM_FORMAT_##name_, .name = #name_, .elements = (elements_), .bytes = 1, \
		.uses = (uses_) \
	}

static const format_info formats[] = {
	BLOCK(Q8_0, 32, 34),
	BLOCK(Q4_0, 32, 18),
	BLOCK(Q5_0, 32, 22),
	BLOCK(Q4_K, 256, 144),
	BLOCK(Q5_K, 256, 176),
	BLOCK(Q6_K, 256, 210),
	BLOCK(IQ4_NL, 32, 18),
	BLOCK(IQ4_XS, 256, 136),
	BLOCK(MXFP4, 32, 17),
	VALUES(E4M3, 1, FORMAT_SCALED_WEIGHTS | FORMAT_SCALES),
	VALUES(E2M1, 2, FORMAT_SCALED_WEIGHTS),
	VALUES(U4, 2, FORMAT_SCALED_WEIGHTS),
	VALUES(E8M0, 1, FORMAT_SCALES),
	VALUES(U8, 1, FORMAT_ZEROS),
};

const format_info *format_at(uint32_t index)
{
	return index < sizeof formats / sizeof formats[0] ? &formats[index] : NULL;
}

const format_info *format_find(uint32_t format)
{
	for (uint32_t i = 0; format_at(i); i++) {
		if ((uint32_t)formats[i].format == format)
			return &formats[i];
	}
	return NULL;
}

const char *ufm_format_name(ufm_format format)
{
	const format_info *info = format_find((uint32_t)format);

	if (format == UFM_FORMAT_PLAIN)
		return "plain";
	return info ? info->name : NULL;
}

uint64_t ufm_format_bytes(ufm_format format, uint64_t elements)
{
	const format_info *info = format_find((uint32_t)format);

	if (!info || elements % info->elements || elements / info->elements > UINT64_MAX / info->bytes)
		return 0;
	return elements / info->elements * info->bytes;
}

uint64_t format_row_bytes(const ufm_part *part)
{
	if (part->format == UFM_FORMAT_PLAIN)
		return part->cols * (uint64_t)ufm_dtype_bytes(part->dtype);
	return ufm_format_bytes((ufm_format)part->format, part->cols);
}
