/* SPDX-License-Identifier: MIT */
/* Routed experts found in GGUF files by the names of their tensors. Layers may be stored in different types: those that
 * have the same description are of one kind, and a bank is of one kind. */
#ifndef UFM_BANK_GGUF_EXPERTS_H
#define UFM_BANK_GGUF_EXPERTS_H

#include "bank/bank.h"
#include "bank/experts.h"
#include "bank/gguf_model.h"
#include "bank/towers.h"

#define GGUF_PARTS_MAX 6u

/* Where one part of a layer's experts lies. */
typedef struct gguf_part {
	/* One that has all experts, or one for each. */
	const checkpoint_tensor *const *tensors;
	bool single;
	uint32_t rows; /* of an expert in it … */
	uint32_t
		begin_row; /* … of which this part's begin here: an up matrix may lie behind its gate */
} gguf_part;

typedef struct gguf_layer {
	uint32_t number; /* in the model */
	uint32_t kind;
	gguf_part parts[GGUF_PARTS_MAX]; /* as those of the kind's description */
} gguf_layer;

typedef struct gguf_layer_kind {
	uint32_t experts; /* a layer */
	uint32_t layers;  /* that are of this kind */
	ufm_expert_desc desc;
} gguf_layer_kind;

typedef struct gguf_set {
	gguf_layer *layers; /* ascending by number */
	uint32_t count;
	gguf_layer_kind *kinds; /* by their first layers */
	uint32_t kind_count;
	const checkpoint_tensor **tensors; /* that parts point into */
} gguf_set;

/* ---- names, as expert_name_find and expert_name_read do for .safetensors */

bool gguf_name_find(const char *name, expert_name *out);
ufm_status gguf_name_read(const char *name, expert_name *out);

/* ---- layers */

/* Finds the layers of the tower that is taken, numbered in [begin, end); both 0: all. f16_as 0: halves stay halves.
 * UFM_EFORMAT: there are none, one lacks a matrix, or has a type or shape that is not understood; the line names a tensor.
 * What is found points into `c`. */
ufm_status gguf_experts_find(const checkpoint *c, const towers *t, uint32_t begin, uint32_t end,
                             ufm_dtype f16_as, gguf_set *out);
void gguf_experts_free(gguf_set *set);

/* UFM_EFORMAT unless what the key-values count is what the tensors have. */
ufm_status gguf_experts_check_model(const gguf_set *set, const model_config *m);

/* Leaves the layers of one kind alone, and the number of all kinds as it is. */
void gguf_experts_keep(gguf_set *set, uint32_t kind);

/* "0 … 3, 5", cut with "…". */
const char *gguf_kind_layers(const gguf_set *set, uint32_t kind, char *text, size_t size);

/* As experts_router: blk.N.ffn_gate_inp.weight. */
ufm_status gguf_experts_router(const gguf_set *set, const checkpoint *c, uint32_t layer,
                               const checkpoint_tensor **out);

#endif
