/* SPDX-License-Identifier: MIT */
/*
 * All tensors of a checkpoint: one .safetensors file, or shards and their index; one GGUF file, or all that a model was
 * split into. Opening reads headers and believes nothing in them: what is accepted obeys every rule of
 * docs/formats.md, and extents lie inside their files. Payload is read by store/.
 */
#ifndef UFM_BANK_CHECKPOINT_H
#define UFM_BANK_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

#define CHECKPOINT_RANK_MAX 8u
#define CHECKPOINT_TENSORS_MAX (1u << 20)
#define CHECKPOINT_FILES_MAX 4096u

/* The types of the format, in the order of its own list. */
typedef enum checkpoint_dtype {
	CHECKPOINT_BOOL = 1,
	CHECKPOINT_F4,
	CHECKPOINT_F6_E2M3,
	CHECKPOINT_F6_E3M2,
	CHECKPOINT_U8,
	CHECKPOINT_I8,
	CHECKPOINT_F8_E5M2,
	CHECKPOINT_F8_E4M3,
	CHECKPOINT_F8_E8M0,
	CHECKPOINT_F8_E4M3FNUZ,
	CHECKPOINT_F8_E5M2FNUZ,
	CHECKPOINT_I16,
	CHECKPOINT_U16,
	CHECKPOINT_F16,
	CHECKPOINT_BF16,
	CHECKPOINT_I32,
	CHECKPOINT_U32,
	CHECKPOINT_F32,
	CHECKPOINT_C64,
	CHECKPOINT_F64,
	CHECKPOINT_I64,
	CHECKPOINT_U64,
	CHECKPOINT_DTYPE_END,
	/* GGUF's types that no .safetensors file has: this and their number in the file (bank/gguf.h) */
	CHECKPOINT_GGUF = 256,
} checkpoint_dtype;

/* As the file spells it, e.g. "BF16" or "Q4_K". Static storage. */
const char *checkpoint_dtype_name(checkpoint_dtype dtype);
/* Of one element of a type of .safetensors, two of which are no whole bytes. */
uint32_t checkpoint_dtype_bits(checkpoint_dtype dtype);
/* What its elements are where they are plain: F32, BF16 or F16; 0 for any other type. */
ufm_dtype checkpoint_plain_dtype(checkpoint_dtype dtype);

typedef struct checkpoint_tensor {
	const char *name;
	checkpoint_dtype dtype;
	uint32_t rank;
	uint64_t shape[CHECKPOINT_RANK_MAX];
	uint32_t file; /* of checkpoint_file_path */
	uint64_t file_offset_bytes, size_bytes;
} checkpoint_tensor;

/* "[8, 64, 32]"; cut at `size`. */
char *checkpoint_shape_text(uint32_t rank, const uint64_t *shape, char *text, size_t size);

typedef struct checkpoint checkpoint;
/* bank/gguf.h */
struct gguf_values;

/* Whether a folder holds exactly one .safetensors file, or cannot be listed, which whoever opens it says. */
bool checkpoint_holds_single(const char *folder);

/* `path`: a .safetensors file, an index (a name that ends with .json), a GGUF file, or a folder that holds
 * model.safetensors, model.safetensors.index.json, exactly one .safetensors file, or none of these and exactly one
 * model in GGUF files.
 * UFM_EFILE, UFM_EFORMAT: one line with the file and the rule. */
ufm_status checkpoint_open(const char *path, checkpoint **out);
void checkpoint_close(checkpoint *c);
/* As it was opened. */
const char *checkpoint_path(const checkpoint *c);
/* "safetensors" or "gguf". */
const char *checkpoint_format_name(const checkpoint *c);

/* Tensors are sorted by name (bytes). */
uint32_t checkpoint_tensor_count(const checkpoint *c);
const checkpoint_tensor *checkpoint_tensor_at(const checkpoint *c, uint32_t index);
/* NULL when there is none of that name. */
const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name);
/* Index of the first tensor whose name is not below `name`. */
uint32_t checkpoint_lower_bound(const checkpoint *c, const char *name);

uint32_t checkpoint_file_count(const checkpoint *c);
const char *checkpoint_file_path(const checkpoint *c, uint32_t file);
uint64_t checkpoint_file_bytes(const checkpoint *c, uint32_t file);
/* What GGUF files say beside their tensors; NULL for every other format. */
const struct gguf_values *checkpoint_values(const checkpoint *c);
/* The config.json beside the weights, or NULL: it is not looked for beside GGUF files, which need none. */
const char *checkpoint_config_path(const checkpoint *c);

#endif
