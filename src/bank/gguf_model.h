/* SPDX-License-Identifier: MIT */
/* What a GGUF file's key-values say about its routed layers, as config.json says it of other checkpoints. */
#ifndef UFM_BANK_GGUF_MODEL_H
#define UFM_BANK_GGUF_MODEL_H

#include "bank/model_config.h"
#include "checkpoint/gguf.h"

/* What an architecture's experts compute, which files do not say. All zero: an unknown one. */
typedef struct gguf_arithmetic {
	ufm_expert_kind kind;
	ufm_activation activation;
	float act_alpha, gate_limit, up_limit, up_offset; /* as in ufm_expert_desc */
} gguf_arithmetic;

/* Nothing is guessed: what is not said is 0, what is not understood an obstacle (bank/model_config.h). An architecture that
 * is not known is an obstacle to its experts and to its router. Layers past the last that is counted are those that
 * predict several tokens at once. */
void gguf_model_read(const gguf_values *values, model_config *out, gguf_arithmetic *arithmetic);

#endif
