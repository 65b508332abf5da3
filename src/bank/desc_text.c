/* SPDX-License-Identifier: MIT */
/* How an expert's matrices are stored, in words. */
#include <stdio.h>
#include <string.h>

#include "bank/bank.h"

static const char *type_name(const ufm_part *part)
{
	static const char *const plain[] = {[UFM_F32] = "f32", [UFM_BF16] = "bf16", [UFM_F16] = "f16"};

	return part->format ? ufm_format_name((ufm_format)part->format) : plain[part->dtype];
}

static const ufm_role matrices[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};
#define MATRICES (sizeof matrices / sizeof matrices[0])

/* The type that all matrices have, or NULL. */
static const char *common_type(const ufm_expert_desc *desc)
{
	const char *common = NULL;

	for (size_t i = 0; i < MATRICES; i++) {
		const ufm_part *part = ufm_expert_part(desc, matrices[i]);
		const char *name = part ? type_name(part) : common;

		if (common && strcmp(common, name) != 0)
			return NULL;
		common = name;
	}
	return common;
}

const char *bank_types_text(const ufm_expert_desc *desc, char *text, size_t size)
{
	static const char *const names[] = {"gate", "up", "down"};
	const char *common = common_type(desc);
	size_t used = 0;

	if (common) {
		snprintf(text, size, "%s", common);
		return text;
	}
	for (size_t i = 0; i < MATRICES && used < size; i++) {
		const ufm_part *part = ufm_expert_part(desc, matrices[i]);

		if (part)
			used += (size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "",
			                         names[i], type_name(part));
	}
	return text;
}
