/* SPDX-License-Identifier: MIT */
/* What an expert is and where its bytes lie. Parses headers, never reads payload. */
#ifndef UFM_BANK_BANK_H
#define UFM_BANK_BANK_H

#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

typedef enum extent_kind {
	EXTENT_SYNTHETIC = 1, /* made from `seed` */
	EXTENT_MEMORY,        /* at `memory` */
	EXTENT_FILE,          /* in file number `file` at `file_offset_bytes` */
} extent_kind;

/* A piece of a block. A synthetic piece is a whole block: `seed` is the expert's own, and the
 * description says what to make of it. */
typedef struct bank_extent {
	extent_kind kind;
	uint64_t seed;
	const void *memory;
	uint32_t file;
	uint64_t file_offset_bytes;
	uint64_t block_offset_bytes; /* where it belongs in the block */
	uint64_t size_bytes;
} bank_extent;

#define BANK_EXTENTS_MAX UFM_PARTS_MAX

const ufm_expert_desc *bank_desc(const ufm_bank *bank);
/* Dense key of an expert: layer * experts + expert. */
uint32_t bank_key_count(const ufm_bank *bank);
/* The pieces of one block, which together cover its payload; returns how many. */
uint32_t bank_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX]);
uint32_t bank_file_count(const ufm_bank *bank);
const char *bank_file_path(const ufm_bank *bank, uint32_t file);

ufm_bank *bank_ref(ufm_bank *bank);

/* The packed format's header (docs/formats.md): written by store/, parsed when a file is opened. The
 * parser is pure. It checks everything that the header claims, also against the size of the file
 * that it came from; UFM_EFORMAT names the rule. */
#define BANK_PACKED_HEADER_BYTES 4096u
void bank_packed_header(const ufm_bank_info *info, uint8_t out[BANK_PACKED_HEADER_BYTES]);
ufm_status bank_packed_parse(const void *header, size_t header_bytes, uint64_t file_bytes,
                             ufm_bank_info *out);

/* UFM_EINVAL unless a description made by anybody is one that the kernels can compute: known roles
 * once each, shapes that fit the dimensions, one dtype, aligned parts that neither overlap nor
 * leave the payload, both matrices present. */
ufm_status bank_check_desc(const ufm_expert_desc *desc);

#endif
