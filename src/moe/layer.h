/* SPDX-License-Identifier: MIT */
/* A layer whose router changes. */
#ifndef UFM_MOE_LAYER_H
#define UFM_MOE_LAYER_H

#include <ufm/ufm.h>

/* Replaces the router's weights, [experts, d_model] in host memory, of a layer that was opened with a router, and
 * waits until they are there. No call of the layer may be in flight. */
ufm_status layer_set_router(ufm_layer *layer, const float *weight);

#endif
