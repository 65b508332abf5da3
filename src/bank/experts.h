/* SPDX-License-Identifier: MIT */
/* Routed experts found in a checkpoint by the names of its tensors: which layers and experts there are,
 * what shapes they have, and where each part of each expert lies. */
#ifndef UFM_BANK_EXPERTS_H
#define UFM_BANK_EXPERTS_H

#include "bank/checkpoint.h"

/* What a tensor's name says. */
typedef struct expert_name {
	uint32_t
		prefix_bytes; /* "model.layers.3.mlp" of "model.layers.3.mlp.experts.0.up_proj.weight" */
	uint32_t layer_number; /* the last number in the prefix; 0 when there is none */
	bool fused;            /* of all experts: [experts, …] */
	bool gate_up;          /* fused: gate rows, then up rows */
	uint32_t expert;
	ufm_role role; /* gate_up: UFM_ROLE_GATE */
} expert_name;

/* false: not the tensor of a routed expert. A name under "experts" that is not understood gives
 * *status UFM_EFORMAT, with a line that says why. */
bool expert_name_parse(const char *name, expert_name *out, ufm_status *status);

/* Parts stand in the order of ufm_expert_desc_init. */
typedef struct expert_set {
	uint32_t layers, experts; /* experts a layer */
	uint32_t *numbers;        /* [layers]: the layer's number in the model, ascending */
	bool fused;
	ufm_expert_kind kind;
	uint32_t d_model, d_hidden;
	checkpoint_dtype dtype;
	uint32_t part_count;
	ufm_role roles[UFM_PARTS_MAX]; /* [part_count] */
	/* [layers * layer_tensors]: [expert, part] of each layer, or gate_up and down when fused */
	const checkpoint_tensor **tensors;
	uint32_t layer_tensors;
} expert_set;

/* Finds the experts of the layers numbered in [begin, end); both 0: of all. UFM_EFORMAT: there are none,
 * some are missing, or they are not alike; the line names a tensor. Any dtype is accepted here. What is
 * found points into `c`. */
ufm_status experts_find(const checkpoint *c, uint32_t begin, uint32_t end, expert_set *out);
void experts_free(expert_set *e);

/* Where one part of one expert begins. */
typedef struct expert_place {
	uint32_t file;
	uint64_t offset_bytes;
} expert_place;
expert_place experts_place(const expert_set *e, uint32_t layer, uint32_t expert, uint32_t part);

/* The router's weight [experts, d_model] of the layer-th layer: what stands as `….gate.weight` beside its
 * `….experts.`. *out is NULL when there is none. UFM_EFORMAT when its shape is another, or beside it
 * stands what would change the scores (a bias, a correction). */
ufm_status experts_router(const expert_set *e, const checkpoint *c, uint32_t layer,
                          const checkpoint_tensor **out);

#endif
