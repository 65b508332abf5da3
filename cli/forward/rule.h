/* SPDX-License-Identifier: MIT */
/* How tokens find their experts: the caller's routing, or the checkpoint's router under the rule of its
 * config.json or of options. */
#ifndef CLI_FORWARD_RULE_H
#define CLI_FORWARD_RULE_H

#include "cli/forward/input.h"

/* Fills what --top-k, --norm-topk and --scoring leave to the checkpoint, with the origin. Nothing is
 * guessed: a rule that nothing gives is UFM_EINVAL and names the option that would; a model whose
 * router works otherwise is UFM_EFORMAT. */
ufm_status forward_rule(const ufm_bank *bank, const forward_input *input, forward_config *config,
                        option_state *state);

/* The router's weight as f32 [experts, d_model], to be freed with alloc_free. */
ufm_status forward_router(const ufm_bank *bank, uint32_t layer_number, float **out);

#endif
