/* SPDX-License-Identifier: MIT */
/* How weights are stored, by the words of --dtype. */
#ifndef CLI_WEIGHTS_H
#define CLI_WEIGHTS_H

#include <ufm/ufm.h>

/* In the order of the table. */
#define WEIGHT_CHOICES \
	"f32,fp32|bf16|f16,fp16|q8_0|q4_0|q5_0|q4_k|q5_k|q6_k|iq4_nl|iq4_xs|mxfp4|fp8,e4m3|e2m1|u4," \
	"int4"
#define WEIGHTS_BF16 1u

/* The standard layout of a kind, with matrices as the choice with this index says. UFM_EINVAL as ufm_expert_desc_init. */
ufm_status weights_desc(uint32_t index, ufm_expert_kind kind, uint32_t d_model, uint32_t d_hidden,
                        ufm_expert_desc *out);
/* What it says in a row; NULL past the end. */
const char *weights_word(uint32_t index);
/* The choice with this word. UFM_EINVAL: none. */
ufm_status weights_find(const char *word, uint32_t *index);
/* The choice that a description's matrices are, by the first of them. */
uint32_t weights_of(const ufm_expert_desc *desc);
/* The kind whose standard layout has its matrices, whatever they are stored as. */
ufm_expert_kind weights_kind(const ufm_expert_desc *desc);
/* What the arithmetic with them is held against: of formats, what they expand to. */
ufm_dtype weights_dtype(uint32_t index);

#endif
