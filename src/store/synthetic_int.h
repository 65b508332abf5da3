/* SPDX-License-Identifier: MIT */
/* Weights made from a seed. */
#ifndef UFM_STORE_SYNTHETIC_INT_H
#define UFM_STORE_SYNTHETIC_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

/* Makes one expert's whole payload, the bytes between parts included. */
void synthetic_fill(const ufm_expert_desc *desc, uint64_t seed, void *block);

#endif
