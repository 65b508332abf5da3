/* SPDX-License-Identifier: MIT */
/* What an expert is and where its bytes lie. Parses headers, never reads payload. */
#ifndef UFM_BANK_BANK_H
#define UFM_BANK_BANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

#include "bank/bank_shape.h"
#include "bank/towers.h"
#include "checkpoint/checkpoint.h"

typedef enum extent_kind {
	EXTENT_SYNTHETIC = 1, /* made from `seed` */
	EXTENT_MEMORY,        /* at `memory` */
	EXTENT_FILE,          /* in file number `file` at `file_offset_bytes` */
	EXTENT_STRIDED,       /* the same, but its elements lie there at two strides */
	EXTENT_NIBBLES, /* values of four bits, packed in words along its rows' axis (store/nibbles_int.h) */
	EXTENT_RECIPROCAL, /* in a file: of each F32 there, one divided by it */
	EXTENT_ZERO,       /* zero bytes: what lies between parts that come one by one */
	EXTENT_CALLBACK,   /* written by `reader`: a whole block */
} extent_kind;

/* The caller's function that writes an expert's bytes. */
typedef struct bank_reader {
	ufm_status (*read)(void *ctx, uint32_t layer, uint32_t expert, void *block);
	void *ctx;
} bank_reader;

/* A piece of a block. A synthetic piece is a whole block: `seed` is the expert's own, and the
 * description says what to make of it. */
typedef struct bank_extent {
	extent_kind kind;
	uint64_t seed;
	const void *memory;
	const bank_reader *reader; /* the bank's own */
	uint32_t file;
	uint64_t file_offset_bytes;
	ufm_dtype from, to; /* in the file, in the block; both 0: bytes as they are, each an element */
	uint64_t block_offset_bytes; /* where it belongs in the block */
	uint64_t size_bytes;         /* in the block */
	/* strided: what becomes a row-major matrix. Element (row, col) lies row * row_stride + col * col_stride
	 * elements behind the first, all of them inside 2^63 bytes; strides are above 0, and 0 along an axis
	 * of one element. */
	uint32_t rows, cols;
	uint64_t row_stride, col_stride;
	/* nibbles: `rows` by `cols` values. That of (row, col) is in the word row / 8 * row_stride + col * col_stride, after
	 * nibble_addend was added to the word; it is the nibble whose number is the (row % 8)-th of nibble_order, both
	 * counted from the low end. They become a byte each, or as UFM_FORMAT_U4 has them. */
	uint32_t nibble_order, nibble_addend;
	bool nibbles_apart; /* a byte each */
} bank_extent;

/* Bytes of its file that become the extent; 0 where it has no file. */
uint64_t bank_extent_file_bytes(const bank_extent *extent);

/* Every part and what lies before it. */
#define BANK_EXTENTS_MAX (2 * UFM_PARTS_MAX)

const ufm_expert_desc *bank_desc(const ufm_bank *bank);
/* Dense key of an expert: layer * experts + expert. */
uint32_t bank_key_count(const ufm_bank *bank);
/* The pieces of one block, which together cover its payload; returns how many. */
uint32_t bank_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX]);
uint32_t bank_file_count(const ufm_bank *bank);
const char *bank_file_path(const ufm_bank *bank, uint32_t file);

/* Whether ufm_bank_open takes the path for a checkpoint: a folder, .safetensors, .json or GGUF. */
bool bank_is_checkpoint(const char *path);
/* The checkpoint that the bank was opened from, or NULL; lives as long as the bank. */
const checkpoint *bank_checkpoint(const ufm_bank *bank);
/* Its stacks of routed layers, the bank's first, and what config.json says of that; nothing for every other bank. */
const towers *bank_towers(const ufm_bank *bank);
/* The router of one of a checkpoint's layers (0 … layers-1), as experts_router gives it; NULL for every
 * other bank. */
ufm_status bank_router(const ufm_bank *bank, uint32_t layer, const checkpoint_tensor **out);

/* How the matrices of a checked description are stored: "bf16", "Q8_0", "E2M1 (1 × 32, E8M0)" where 1 × 32 elements share a
 * scale, or "gate Q4_K, up Q4_K, down Q6_K" where they differ. Cut at `size`; BANK_TYPES_BYTES are enough. */
#define BANK_TYPES_BYTES 192u
const char *bank_types_text(const ufm_expert_desc *desc, char *text, size_t size);

ufm_bank *bank_ref(ufm_bank *bank);

/* The packed format's header (docs/formats.md): written by store/, parsed when a file is opened. The
 * parser is pure. It checks everything that the header claims, also against the size of the file
 * that it came from; UFM_EFORMAT names the rule. */
#define BANK_PACKED_HEADER_BYTES 4096u
void bank_packed_header(const bank_shape *shape, uint8_t out[BANK_PACKED_HEADER_BYTES]);
ufm_status bank_packed_parse(const void *header, size_t header_bytes, uint64_t file_bytes,
                             bank_shape *out);

/* UFM_EINVAL unless a description made by anybody is one that the kernels can compute: known roles
 * once each, shapes that fit the dimensions, formats that fit the roles with all that scales them, one
 * dtype where all is plain, aligned parts that neither overlap nor leave the payload, both matrices present.
 * UFM_EUNSUPPORTED: a format that is not known here. */
ufm_status bank_check_desc(const ufm_expert_desc *desc);
/* A caller's description, which may be of an older or a newer library, as ours and checked. UFM_EINVAL also
 * for NULL. */
ufm_status bank_read_desc(const ufm_expert_desc *given, ufm_expert_desc *out);

#endif
