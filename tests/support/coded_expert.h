/* SPDX-License-Identifier: MIT */
/* Experts whose matrices are stored in a format, with random bytes, and the same experts in f32. */
#ifndef UFM_TESTS_CODED_EXPERT_H
#define UFM_TESTS_CODED_EXPERT_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* How a matrix is stored, and what is beside it. */
typedef struct coded_storage {
	const char *name;
	ufm_format format;
	ufm_dtype dtype;                 /* of a plain one */
	uint32_t group_rows, group_cols; /* 0: no scales beside it */
	ufm_format scale_format;
	ufm_dtype scale_dtype;
	bool zeros, factor;
} coded_storage;

/* Every format, those that need scales with several kinds of them. */
extern const coded_storage coded_storages[];
extern const size_t coded_storage_count;

/* Columns of a matrix are a multiple of this. */
uint32_t coded_step(const coded_storage *s);

/* An expert of the standard layout of a kind without biases: all its matrices are stored so. */
ufm_expert_desc coded_expert_desc(const coded_storage *s, ufm_expert_kind kind, uint32_t d_model,
                                  uint32_t d_hidden);

/* Any bytes, scales of any size included. */
void coded_expert_any(const ufm_expert_desc *desc, void *block, uint64_t seed);
/* Finite weights of about 1 / sqrt(columns). */
void coded_expert_usual(const ufm_expert_desc *desc, void *block, uint64_t seed);

/* The same expert in f32: its description, and its bytes made of those of the other. */
ufm_expert_desc coded_expert_plain(const ufm_expert_desc *desc);
void coded_expert_expand(const ufm_expert_desc *desc, const void *block,
                         const ufm_expert_desc *plain, void *out);

#endif
