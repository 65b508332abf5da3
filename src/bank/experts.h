/* SPDX-License-Identifier: MIT */
/* Routed experts found in a checkpoint by the names of its tensors: which layers and experts there are,
 * what shapes they have, and where each part of each expert lies. */
#ifndef UFM_BANK_EXPERTS_H
#define UFM_BANK_EXPERTS_H

#include "bank/checkpoint.h"
#include "bank/model_config.h"

/* bank/towers.h */
struct towers;

/* What a tensor's name says. */
typedef struct expert_name {
	/* of "model.layers.3.mlp.experts.0.up_proj.weight": */
	uint32_t prefix_bytes; /* "model.layers.3.mlp" */
	uint32_t layer_bytes;  /* "model.layers.3"; all of the prefix when it has no number */
	uint32_t tower_bytes;  /* "model.layers"; likewise */
	uint32_t tail_at;      /* where "0.up_proj.weight" begins */
	uint32_t layer_number; /* the last number in the prefix; 0 when there is none */
	const char *unread;    /* whose layout it is, when that is known but not read; or NULL */

	bool fused;   /* of all experts: [experts, …] */
	bool gate_up; /* fused: gate rows, then up rows */
	uint32_t expert;
	ufm_role role; /* gate_up: UFM_ROLE_GATE */
} expert_name;

/* Whether it is the tensor of a routed expert; if so, all up to `unread`. */
bool expert_name_find(const char *name, expert_name *out);
/* The rest of a name that was found. UFM_EFORMAT: it is not understood, and the line says why. */
ufm_status expert_name_read(const char *name, expert_name *out);

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

/* Finds the experts of the tower that is taken, of its layers numbered in [begin, end); both 0: of all.
 * UFM_EFORMAT: there are none, some are missing, or they are not alike; the line names a tensor. Any dtype
 * is accepted here. What is found points into `c`. */
ufm_status experts_find(const checkpoint *c, const struct towers *t, uint32_t begin, uint32_t end,
                        expert_set *out);
void experts_free(expert_set *e);
/* UFM_EFORMAT unless what config.json says of an expert is what the weights have: experts that are missing at
 * the end leave no hole in the numbers, and another geometry is that of another tower. */
ufm_status experts_check_model(const expert_set *e, const model_config *m);

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
