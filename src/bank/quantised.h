/* SPDX-License-Identifier: MIT */
/* Experts of a checkpoint that are published quantised. */
#ifndef UFM_BANK_QUANTISED_H
#define UFM_BANK_QUANTISED_H

#include "bank/experts_int.h"
#include "bank/towers.h"

/* Kind, form, geometry and dtype of experts whose first one has more than plain elements: by the tensors it has, and by the
 * quantization_config of config.json, which must agree. UFM_EFORMAT, with the tensor or the key, where they do not, and for
 * a layout that is not understood. `e` has `fused` and an empty form. */
ufm_status quantised_describe(const checkpoint *c, const towers *t, const expert_tensors *all,
                              expert_set *e);

#endif
