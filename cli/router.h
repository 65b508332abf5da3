/* SPDX-License-Identifier: MIT */
/* The router of a checkpoint's layer. */
#ifndef CLI_ROUTER_H
#define CLI_ROUTER_H

#include <ufm/ufm.h>

/* Of the bank's layer (0 … layers-1), as f32 [experts, d_model], to be freed with alloc_free. *out is NULL, and the status
 * UFM_OK, where the checkpoint has none. UFM_EFORMAT: one that does more than a matrix product; messages name the layer. */
ufm_status router_read(const ufm_bank *bank, uint32_t layer, float **out);

#endif
