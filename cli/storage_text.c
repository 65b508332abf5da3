/* SPDX-License-Identifier: MIT */
/* How an expert's matrices are stored, in few words. */
#include "cli/storage_text.h"

#include <ctype.h>
#include <stdio.h>

#define TYPE_BYTES 16u

static void type_text(const ufm_part *part, char text[TYPE_BYTES])
{
	static const char *const names[] = {[UFM_F32] = "f32", [UFM_BF16] = "bf16", [UFM_F16] = "f16"};
	const char *name =
		part->format ? ufm_format_name((ufm_format)part->format) : names[part->dtype];
	size_t length = 0;
	for (; name[length] && length + 1 < TYPE_BYTES; length++)
		text[length] = (char)tolower((unsigned char)name[length]);
	text[length] = '\0';
}

static const ufm_part *beside(const ufm_expert_desc *desc, const ufm_part *matrix, ufm_role first)
{
	return ufm_expert_part(desc, (ufm_role)((int)first + ((int)matrix->role - UFM_ROLE_UP) / 2));
}

static uint32_t capped(uint32_t group, uint32_t count)
{
	return group < count ? group : count;
}

const char *storage_text(const ufm_expert_desc *desc, char text[STORAGE_TEXT_BYTES])
{
	const ufm_part *part = &desc->parts[0];
	const ufm_part *scale = part->group_rows ? beside(desc, part, UFM_ROLE_UP_SCALE) : NULL;
	char type[TYPE_BYTES], of_scale[TYPE_BYTES];
	type_text(part, type);
	if (!scale) {
		snprintf(text, STORAGE_TEXT_BYTES, "%s", type);
		return text;
	}
	type_text(scale, of_scale);
	snprintf(text, STORAGE_TEXT_BYTES, "%s (%u × %u, %s%s%s)", type,
	         capped(part->group_rows, part->rows), capped(part->group_cols, part->cols), of_scale,
	         beside(desc, part, UFM_ROLE_UP_ZERO) ? ", zero points" : "",
	         beside(desc, part, UFM_ROLE_UP_FACTOR) ? ", a factor" : "");
	return text;
}
