/* SPDX-License-Identifier: MIT */
/* How an expert's matrices are stored, in few words. */
#ifndef UFM_CLI_STORAGE_TEXT_H
#define UFM_CLI_STORAGE_TEXT_H

#include <ufm/ufm.h>

#define STORAGE_TEXT_BYTES 96u

/* Of the first matrix, as those of a bank are alike: "bf16", "q4_k", or "e2m1 (1 × 32, e8m0)", where 1 × 32 elements share a
 * scale of that type. Returns `text`. */
const char *storage_text(const ufm_expert_desc *desc, char text[STORAGE_TEXT_BYTES]);

#endif
