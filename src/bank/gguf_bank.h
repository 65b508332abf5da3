/* SPDX-License-Identifier: MIT */
/* What a bank of GGUF files has beside every bank. */
#ifndef UFM_BANK_GGUF_BANK_H
#define UFM_BANK_GGUF_BANK_H

#include "bank/gguf_experts.h"

/* bank/bank_int.h */
typedef struct gguf_bank gguf_bank;

/* A bank of the tower that is taken, whose `gguf` is set and whose source is not. UFM_EFORMAT as ufm_bank_checkpoint;
 * UFM_EINVAL: config->geometry is none, or 0 where there are several kinds of layers. */
ufm_status gguf_bank_make(const checkpoint *c, const towers *t,
                          const ufm_bank_checkpoint_config *config, ufm_bank **out);
void gguf_bank_free(gguf_bank *g);

/* Of all layers that were chosen from. */
uint32_t gguf_bank_kinds(const gguf_bank *g);
/* As bank_extents and bank_router. */
uint32_t gguf_bank_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX]);
ufm_status gguf_bank_router(const gguf_bank *g, const checkpoint *c, uint32_t layer,
                            const checkpoint_tensor **out);

#endif
