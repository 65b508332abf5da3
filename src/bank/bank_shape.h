/* SPDX-License-Identifier: MIT */
/* What a bank is: its counts and what its experts are. The public ufm_bank_info points to the description,
 * so that both can grow; in here one struct is simpler. */
#ifndef UFM_BANK_BANK_SHAPE_H
#define UFM_BANK_BANK_SHAPE_H

#include <ufm/ufm.h>

typedef struct bank_shape {
	uint32_t layers, experts; /* routed layers; experts a layer */
	ufm_expert_desc desc;
	uint64_t bank_bytes; /* layers * experts * expert_bytes */
} bank_shape;

/* Lives as long as the bank. */
const bank_shape *bank_get_shape(const ufm_bank *bank);

#endif
