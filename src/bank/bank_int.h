/* SPDX-License-Identifier: MIT */
/* What the kinds of bank share. */
#ifndef UFM_BANK_BANK_INT_H
#define UFM_BANK_BANK_INT_H

#include <stdatomic.h>

#include "bank/bank.h"

/* Keys index dense arrays, and a slot's metadata is one entry a key: these bounds keep both small
 * while allowing far more experts than any published model has. */
#define BANK_EXPERTS_MAX (1u << 16)
#define BANK_KEYS_MAX (1u << 24)
#define BANK_DIMENSION_MAX (1u << 20)
#define BANK_BLOCK_ALIGN 4096u
#define BANK_PART_ALIGN 64u

struct ufm_bank {
	atomic_uint refs;
	ufm_bank_info info;
	extent_kind kind;
	uint64_t seed;             /* synthetic */
	const void *const *blocks; /* memory: the caller's */
	char *path;                /* file */
};

static inline uint64_t bank_round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) / align * align;
}

/* A bank of one kind with everything but the kind's own fields. 0 layers are 1. UFM_EINVAL names
 * what is wrong with the description or the counts. */
ufm_status bank_new(extent_kind kind, uint32_t layers, uint32_t experts,
                    const ufm_expert_desc *desc, ufm_bank **out);

/* UFM_EINVAL unless the counts are within bounds and the bank's bytes can be counted. */
ufm_status bank_check_counts(uint32_t layers, uint32_t experts, uint64_t block_bytes);

#endif
