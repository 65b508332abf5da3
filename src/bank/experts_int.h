/* SPDX-License-Identifier: MIT */
/* Tensors of routed experts on their way into the table. */
#ifndef UFM_BANK_EXPERTS_INT_H
#define UFM_BANK_EXPERTS_INT_H

#include "bank/experts.h"

typedef struct expert_tensor {
	expert_name name;
	const checkpoint_tensor *tensor;
} expert_tensor;

typedef struct expert_tensors {
	expert_tensor *items; /* sorted by layer, expert, part */
	uint32_t count;
} expert_tensors;

/* Kind, parts, geometry and dtype, out of the first expert (layer, when fused). */
ufm_status experts_describe(const expert_tensors *all, expert_set *e);
/* UFM_EFORMAT unless the tensor has the shape and dtype that its place in `e` asks for. */
ufm_status experts_check_tensor(const expert_set *e, const expert_tensor *item);

#endif
