/* SPDX-License-Identifier: MIT */
/* The table of --dtype. */
#include "cli/weights.h"

#include <string.h>

#include "base/status.h"

typedef struct storage {
	const char *word;
	ufm_dtype dtype; /* of plain elements */
	ufm_format format;
} storage;

static const storage table[] = {
	{"f32", UFM_F32, UFM_FORMAT_PLAIN}, {"bf16", UFM_BF16, UFM_FORMAT_PLAIN},
	{"f16", UFM_F16, UFM_FORMAT_PLAIN}, {"q8_0", 0, UFM_FORMAT_Q8_0},
	{"q4_0", 0, UFM_FORMAT_Q4_0},       {"q5_0", 0, UFM_FORMAT_Q5_0},
	{"q4_k", 0, UFM_FORMAT_Q4_K},       {"q5_k", 0, UFM_FORMAT_Q5_K},
	{"q6_k", 0, UFM_FORMAT_Q6_K},       {"iq4_nl", 0, UFM_FORMAT_IQ4_NL},
	{"iq4_xs", 0, UFM_FORMAT_IQ4_XS},   {"mxfp4", 0, UFM_FORMAT_MXFP4},
	{"fp8", 0, UFM_FORMAT_E4M3},        {"e2m1", 0, UFM_FORMAT_E2M1},
	{"u4", 0, UFM_FORMAT_U4},
};

#define COUNT (sizeof table / sizeof table[0])

const char *weights_word(uint32_t index)
{
	return index < COUNT ? table[index].word : NULL;
}

ufm_status weights_find(const char *word, uint32_t *index)
{
	for (uint32_t i = 0; i < COUNT; i++) {
		if (strcmp(table[i].word, word) == 0) {
			*index = i;
			return UFM_OK;
		}
	}
	return status_fail(UFM_EINVAL, "dtype: found '%.40s', expected one of " WEIGHT_CHOICES, word);
}

uint32_t weights_of(const ufm_expert_desc *desc)
{
	const ufm_part *up = ufm_expert_part(desc, UFM_ROLE_UP);
	uint32_t index = 0;

	while (index + 1 < COUNT &&
	       ((uint32_t)table[index].format != up->format || table[index].dtype != up->dtype))
		index++;
	return index;
}

ufm_expert_kind weights_kind(const ufm_expert_desc *desc)
{
	if (ufm_expert_part(desc, UFM_ROLE_GATE))
		return UFM_EXPERT_GATED;
	return ufm_expert_part(desc, UFM_ROLE_UP_BIAS) ? UFM_EXPERT_MLP_BIAS : UFM_EXPERT_MLP;
}

ufm_dtype weights_dtype(uint32_t index)
{
	return table[index].dtype ? table[index].dtype : UFM_F32;
}

ufm_status weights_desc(uint32_t index, ufm_expert_kind kind, uint32_t d_model, uint32_t d_hidden,
                        ufm_expert_desc *out)
{
	const storage *s = &table[index];

	if (s->format)
		return ufm_expert_desc_init_format(out, kind, d_model, d_hidden, s->format);
	return ufm_expert_desc_init(out, kind, d_model, d_hidden, s->dtype);
}
