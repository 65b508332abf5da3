/* SPDX-License-Identifier: MIT */
/* How an expert's matrices are stored, in words. */
#include <stdio.h>
#include <string.h>

#include "bank/bank.h"

#define TYPE_BYTES 64u

static const ufm_role matrices[] = {UFM_ROLE_GATE, UFM_ROLE_UP, UFM_ROLE_DOWN};
#define MATRICES (sizeof matrices / sizeof matrices[0])

static const char *name_of(const ufm_part *part)
{
	static const char *const plain[] = {[UFM_F32] = "f32", [UFM_BF16] = "bf16", [UFM_F16] = "f16"};

	return part->format ? ufm_format_name((ufm_format)part->format) : plain[part->dtype];
}

static const ufm_part *beside(const ufm_expert_desc *desc, const ufm_part *matrix, ufm_role first)
{
	return ufm_expert_part(desc, (ufm_role)((int)first + ((int)matrix->role - UFM_ROLE_UP) / 2));
}

static uint32_t capped(uint32_t group, uint32_t count)
{
	return group < count ? group : count;
}

/* "Q4_K", or with what scales it "E2M1 (1 × 32, E8M0)". */
static void write_type(const ufm_expert_desc *desc, const ufm_part *part, char text[TYPE_BYTES])
{
	const ufm_part *scale = part->group_rows ? beside(desc, part, UFM_ROLE_UP_SCALE) : NULL;

	if (!scale) {
		snprintf(text, TYPE_BYTES, "%s", name_of(part));
		return;
	}
	snprintf(text, TYPE_BYTES, "%s (%u × %u, %s%s%s)", name_of(part),
	         capped(part->group_rows, part->rows), capped(part->group_cols, part->cols),
	         name_of(scale), beside(desc, part, UFM_ROLE_UP_ZERO) ? ", zero points" : "",
	         beside(desc, part, UFM_ROLE_UP_FACTOR) ? ", a factor" : "");
}

/* A scale for a row or for all has another shape in each matrix, and is of one kind all the same. */
static bool are_alike(const ufm_expert_desc *desc, const ufm_part *a, const ufm_part *b)
{
	const ufm_part *of_a = beside(desc, a, UFM_ROLE_UP_SCALE),
				   *of_b = beside(desc, b, UFM_ROLE_UP_SCALE);

	if (a->dtype != b->dtype || a->format != b->format || !of_a != !of_b)
		return false;
	return !of_a || (of_a->dtype == of_b->dtype && of_a->format == of_b->format);
}

static bool all_alike(const ufm_expert_desc *desc)
{
	const ufm_part *up = ufm_expert_part(desc, UFM_ROLE_UP);

	for (size_t i = 0; i < MATRICES; i++) {
		const ufm_part *part = ufm_expert_part(desc, matrices[i]);

		if (part && !are_alike(desc, up, part))
			return false;
	}
	return true;
}

const char *bank_types_text(const ufm_expert_desc *desc, char *text, size_t size)
{
	static const char *const names[] = {"gate", "up", "down"};
	char type[TYPE_BYTES];
	size_t used = 0;

	if (all_alike(desc)) {
		write_type(desc, ufm_expert_part(desc, UFM_ROLE_UP), type);
		snprintf(text, size, "%s", type);
		return text;
	}
	for (size_t i = 0; i < MATRICES && used < size; i++) {
		const ufm_part *part = ufm_expert_part(desc, matrices[i]);

		if (!part)
			continue;
		write_type(desc, part, type);
		used +=
			(size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "", names[i], type);
	}
	return text;
}
