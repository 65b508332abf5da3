/* SPDX-License-Identifier: MIT */
/* One layer of a GGUF file, on its way from tensors to a description. */
#ifndef UFM_BANK_GGUF_LAYERS_INT_H
#define UFM_BANK_GGUF_LAYERS_INT_H

#include "bank/experts_int.h"
#include "bank/gguf_experts.h"

/* What has a role in a layer. */
typedef struct gguf_slot {
	const checkpoint_tensor *const *tensors;
	uint32_t count; /* of them; 0: there is no such part */
	bool single;    /* one for each expert */
	bool halved;    /* twice the rows: a gate's, then an up's … */
	bool second;    /* … of which this part has those behind */
} gguf_slot;

typedef struct gguf_slots {
	uint32_t number;                      /* the layer's */
	gguf_slot of[UFM_ROLE_DOWN_BIAS + 1]; /* by role */
} gguf_slots;

typedef struct gguf_geometry {
	uint32_t experts, d_model, d_hidden;
} gguf_geometry;

/* items[i], whose tensor is tensors[i], are all of one layer, sorted by role and expert. */
ufm_status gguf_layer_describe(const expert_tensor *items, uint32_t count,
                               const checkpoint_tensor *const *tensors,
                               const gguf_arithmetic *arithmetic, ufm_dtype f16_as,
                               gguf_layer *layer, gguf_layer_kind *kind);

#endif
