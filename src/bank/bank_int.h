/* SPDX-License-Identifier: MIT */
/* What the kinds of bank share. */
#ifndef UFM_BANK_BANK_INT_H
#define UFM_BANK_BANK_INT_H

#include <stdatomic.h>

#include "bank/bank.h"
#include "bank/experts.h"
#include "bank/towers.h"
#include "base/status.h"

/* Keys index dense arrays, and a slot's metadata is one entry a key: these bounds keep both small
 * while allowing far more experts than any published model has. */
#define BANK_EXPERTS_MAX (1u << 16)
#define BANK_KEYS_MAX (1u << 24)
#define BANK_DIMENSION_MAX (1u << 20)
#define BANK_BLOCK_ALIGN 4096u
#define BANK_PART_ALIGN 64u

typedef struct bank_files bank_files;
typedef struct gguf_bank gguf_bank;

struct ufm_bank {
	atomic_uint refs;
	bank_shape shape;
	extent_kind kind;
	uint64_t seed;             /* synthetic */
	const void *const *blocks; /* memory: the caller's */
	bank_reader reader;        /* callback */
	void (*closed)(void *ctx); /* callback: told of reader.ctx when the bank is gone; or NULL */
	char *path;                /* packed file */
	/* a checkpoint's; source is NULL for every other bank */
	checkpoint *source;
	towers towers;
	expert_set found;
	gguf_bank *gguf;   /* NULL for every bank that is not of GGUF files; then `found` is empty */
	bank_files *files; /* from the caller's extents; NULL for every other bank */
	uint32_t *layer_numbers; /* that the caller told; NULL: 0 … layers-1, or a checkpoint's */
};

/* UFM_EINVAL where a configuration that is needed, or where the bank is to be put, is NULL. */
ufm_status bank_need_both(const void *config, const char *wanted, ufm_bank **out);

ufm_status bank_packed_open(const char *path, ufm_bank **out);

/* bank_extents of a checkpoint. */
uint32_t bank_checkpoint_extents(const ufm_bank *bank, uint32_t key,
                                 bank_extent out[BANK_EXTENTS_MAX]);

static inline uint64_t bank_round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) / align * align;
}

/* Appends a part of that role, dtype, format and groups to a description whose dimensions are set: its shape follows from them,
 * and of what stands beside a matrix from the matrix, which comes first. It begins at the next multiple of 64. */
void bank_append_part(ufm_expert_desc *desc, const ufm_part *like);

/* "gate bias". Static storage. */
const char *bank_role_name(ufm_role role);

/* What lies between two parts of a block. */
static inline bank_extent bank_zeros(uint64_t from, uint64_t to)
{
	return (bank_extent){.kind = EXTENT_ZERO, .block_offset_bytes = from, .size_bytes = to - from};
}

/* The shape that a part must have; of scales and zero points where the matrix's part is there already. */
void bank_role_shape(const ufm_expert_desc *desc, ufm_role role, uint32_t *rows, uint32_t *cols);
ufm_status bank_check_dimensions(const ufm_expert_desc *desc);

/* One EXTENT_ZERO for what lies before each part, at most one a part; returns how many. */
uint32_t bank_gaps(const ufm_expert_desc *desc, bank_extent *out);

/* Copies the caller's layer numbers, which may be NULL. */
ufm_status bank_copy_numbers(ufm_bank *bank, const uint32_t *numbers);

/* A bank of one kind with everything but the kind's own fields. 0 layers are 1. UFM_EINVAL names
 * what is wrong with the description or the counts. */
ufm_status bank_new(extent_kind kind, uint32_t layers, uint32_t experts,
                    const ufm_expert_desc *given, ufm_bank **out);

/* What is an argument elsewhere is a file's content here: the last failure as UFM_EFORMAT. */
static inline ufm_status bank_as_format(ufm_status status)
{
	return status == UFM_EINVAL ? status_fail(UFM_EFORMAT, "%s", ufm_last_error()) : status;
}

/* UFM_EINVAL unless the counts are within bounds and the bank's bytes can be counted. */
ufm_status bank_check_counts(uint32_t layers, uint32_t experts, uint64_t block_bytes);

#endif
