/* SPDX-License-Identifier: MIT */
/* Weights made from a seed. */
#ifndef UFM_STORE_SYNTHETIC_INT_H
#define UFM_STORE_SYNTHETIC_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

/* Makes one expert's whole payload, the bytes between parts included. */
void synthetic_fill(const ufm_expert_desc *desc, uint64_t seed, void *block);

/* Makes a part that has a format, or stands beside one that has, at `out`; the same for the same key. */
void synthetic_fill_coded(const ufm_expert_desc *desc, const ufm_part *part, uint64_t key,
                          uint8_t *out);

#endif
