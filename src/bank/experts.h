/* SPDX-License-Identifier: MIT */
/* Routed experts found in a checkpoint by the names of its tensors: which layers and experts there are,
 * what shapes they have, and where each part of each expert lies. */
#ifndef UFM_BANK_EXPERTS_H
#define UFM_BANK_EXPERTS_H

#include "bank/checkpoint.h"
#include "bank/model_config.h"

/* bank/towers.h */
struct towers;

/* What of a matrix a tensor is. */
typedef enum expert_component {
	EXPERT_WEIGHT, /* its elements, or 8- or 4-bit values for them */
	EXPERT_BIAS,
	EXPERT_BLOCKS, /* 4-bit values */
	EXPERT_PACKED,
	EXPERT_QWEIGHT,
	EXPERT_SCALE, /* scales of those */
	EXPERT_SCALE_INV,
	EXPERT_SCALES,
	EXPERT_ZERO_POINT, /* zero points */
	EXPERT_QZEROS,
	EXPERT_SCALE_2, /* what all scales have in common */
	EXPERT_GLOBAL_SCALE,
	EXPERT_ASIDE, /* from here on: what weights are computed without */
	EXPERT_SHAPE = EXPERT_ASIDE,
	EXPERT_G_IDX,
	EXPERT_INPUT_SCALE,
	EXPERT_ACTIVATION_SCALE,
	EXPERT_INPUT_GLOBAL_SCALE,
	EXPERT_COMPONENTS,
} expert_component;

/* "weight_scale_inv". Static storage. */
const char *expert_component_name(expert_component component);

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
	ufm_role
		role; /* of the matrix or, of a single expert's bias, of that; gate_up: UFM_ROLE_GATE */
	expert_component component;
} expert_name;

/* Whether it is the tensor of a routed expert; if so, all up to `unread`. */
bool expert_name_find(const char *name, expert_name *out);
/* The rest of a name that was found. UFM_EFORMAT: it is not understood, and the line says why. */
ufm_status expert_name_read(const char *name, expert_name *out);
/* Says of a name that was found why what it names cannot be part of an expert: UFM_EFORMAT. */
ufm_status expert_name_fail(const char *name, const expert_name *found);

/* What tensors an expert has, and what parts of it are made of them (experts_int.h). */
typedef struct expert_form expert_form;

typedef struct expert_set {
	uint32_t layers, experts; /* experts a layer */
	uint32_t *numbers;        /* [layers]: the layer's number in the model, ascending */
	bool fused;
	bool biased; /* gated, with biases: of no standard kind */
	ufm_expert_kind kind;
	uint32_t d_model, d_hidden;
	checkpoint_dtype dtype; /* of the elements or values of the matrices */
	const char *quantised;  /* the layout: "MXFP4"; NULL for plain elements */
	expert_form *form;
	/* [layers * layer_tensors]: [expert, slot of the form] of each layer, or [slot] when fused */
	const checkpoint_tensor **tensors;
	uint32_t layer_tensors;
} expert_set;

/* Finds the experts of the tower that is taken, of its layers numbered in [begin, end); both 0: of all.
 * UFM_EFORMAT: there are none, some are missing, they are not alike, or they are quantised in a way that is not understood or
 * that config.json does not say; the line names a tensor or a key. Of plain elements any dtype is accepted
 * here. What is found points into `c`. */
ufm_status experts_find(const checkpoint *c, const struct towers *t, uint32_t begin, uint32_t end,
                        expert_set *out);
void experts_free(expert_set *e);
/* UFM_EFORMAT unless what config.json says of an expert is what the weights have: experts that are missing at
 * the end leave no hole in the numbers, and another geometry is that of another tower. */
ufm_status experts_check_model(const expert_set *e, const model_config *m);

/* What their experts become in a block: parts, without an activation. F16 elements become f16_as, and their biases f32
 * where that is UFM_F16. UFM_EFORMAT where experts have a dtype that is not understood. */
ufm_status experts_desc(const expert_set *e, ufm_dtype f16_as, ufm_expert_desc *out);
/* Where one part of one expert lies, and how; all but what follows from the part itself, which experts_desc gave. */
struct bank_extent;
void experts_extent(const expert_set *e, uint32_t layer, uint32_t expert, uint32_t part,
                    struct bank_extent *out);

/* The router's weight [experts, d_model] of the layer-th layer: what stands as `….gate.weight` beside its
 * `….experts.`. *out is NULL when there is none. UFM_EFORMAT when its shape is another, or beside it
 * stands what would change the scores (a bias, a correction). */
ufm_status experts_router(const expert_set *e, const checkpoint *c, uint32_t layer,
                          const checkpoint_tensor **out);

#endif
