/* SPDX-License-Identifier: MIT */
/* A layer's weights in the arena: what they take, and a router that changes. */
#ifndef UFM_MOE_LAYER_H
#define UFM_MOE_LAYER_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* As ufm_layer_bytes, of a layer whose weights need not be there yet. */
uint64_t layer_arena_bytes(const ufm_bank_info *bank, bool router, bool norm);

/* Replaces the router's weights, [experts, d_model] in host memory, of a layer that was opened with a router, and
 * waits until they are there. No call of the layer may be in flight. */
ufm_status layer_set_router(ufm_layer *layer, const float *weight);

#endif
