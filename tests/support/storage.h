/* SPDX-License-Identifier: MIT */
/* Every way in which an expert's matrices may be stored, and the same expert in f32. */
#ifndef UFM_TESTS_STORAGE_H
#define UFM_TESTS_STORAGE_H

#include <stdbool.h>
#include <ufm/ufm.h>

typedef struct storage {
	const char *name;
	ufm_dtype dtype; /* of plain elements, or 0 */
	ufm_format format;
	/* of a format that parts beside the matrix scale */
	ufm_dtype scale_dtype;
	ufm_format scale_format;
	uint32_t group_rows, group_cols;
	bool zeros, factor;
} storage;

/* Each format, F16, and of the scaled ones all that their scales may be. */
extern const storage storages[];
extern const size_t storage_count;

/* No format has a longer block: dimensions that are a multiple of it suit all. */
#define STORAGE_STEP 256u
/* Columns of a matrix that is stored so are a multiple of this. */
uint32_t storage_step(const storage *s);

/* Stores the matrices of an expert in another way; its biases stay. */
void storage_apply(const storage *s, ufm_expert_desc *desc);
/* An expert of the standard layout of a kind, stored so. */
ufm_expert_desc storage_desc(const storage *s, ufm_expert_kind kind, uint32_t d_model,
                             uint32_t d_hidden);
/* Whether a backend computes experts that are stored so. */
bool storage_is_read(const storage *s, uint32_t dtypes, uint64_t formats);

/* The block of an expert made of a seed, aligned to 64. Any bytes: infinities and NaN, scales of any size. */
void storage_fill_any(const ufm_expert_desc *desc, void *block, uint64_t seed);
/* Synthetic weights, finite and about 1 / sqrt(columns), but with scales of both signs. */
void storage_fill(const ufm_expert_desc *desc, void *block, uint64_t seed);

/* The same expert with every matrix and bias in f32. */
ufm_expert_desc storage_plain_desc(const ufm_expert_desc *desc);
/* Writes its block; both are aligned to 64. */
void storage_expand(const ufm_expert_desc *desc, const void *block, const ufm_expert_desc *plain,
                    void *out);
/* All experts of a bank so. Free it with storage_memory_close. */
typedef struct storage_memory {
	ufm_bank *bank;
	ufm_expert_desc desc;
	void **blocks;
	uint32_t keys;
} storage_memory;
void storage_memory_open(ufm_bank *coded, storage_memory *m);
void storage_memory_close(storage_memory *m);

#endif
