/* SPDX-License-Identifier: MIT */
/* Tensors of routed experts on their way into the table. */
#ifndef UFM_BANK_EXPERTS_INT_H
#define UFM_BANK_EXPERTS_INT_H

#include "bank/bank.h"
#include "bank/experts.h"

typedef struct expert_tensor {
	expert_name name;
	const checkpoint_tensor *tensor;
} expert_tensor;

typedef struct expert_tensors {
	expert_tensor *items; /* sorted by layer, expert, part; none that stands aside */
	uint32_t count;
	/* of what stands aside the first of each component, from EXPERT_ASIDE on; its tensor is NULL where there is none */
	expert_tensor aside[EXPERT_COMPONENTS - EXPERT_ASIDE];
} expert_tensors;

/* The items of the first expert (of the first layer, when fused): the first `count`. */
uint32_t experts_first_count(const expert_tensors *all);

/* A tensor that every expert has, or every layer when fused. */
typedef struct expert_slot {
	expert_name name;               /* of it `fused`, `gate_up`, `role` and `component` */
	const checkpoint_tensor *first; /* the first expert's */
	checkpoint_dtype dtype;
	uint32_t rank;
	uint64_t shape[CHECKPOINT_RANK_MAX];
} expert_slot;

/* Where a part of an expert comes from. */
typedef struct expert_part {
	ufm_part like; /* what bank_append_part takes; of plain elements only the role */
	uint32_t slot;
	uint64_t stride_bytes; /* when fused, from an expert to the next; else 0 */
	uint64_t offset_bytes; /* in what the expert has of the tensor */
	bank_extent lies;      /* `kind`, `from`, and what says how its elements lie */
} expert_part;

/* A matrix has values, scales, zero points and a factor at most. */
#define EXPERT_SLOTS_MAX UFM_PARTS_MAX

struct expert_form {
	expert_slot slots[EXPERT_SLOTS_MAX]; /* in the order of expert_tensors */
	uint32_t slot_count;
	expert_part parts[UFM_PARTS_MAX]; /* in the order of the block */
	uint32_t part_count;
};

/* Kind, form, geometry and dtype, out of the first expert (layer, when fused), and where they are quantised what
 * config.json says of it. UFM_EFORMAT as experts_find has it. */
ufm_status experts_describe(const checkpoint *c, const struct towers *t, const expert_tensors *all,
                            expert_set *e);
/* UFM_EFORMAT unless the tensor has the shape and dtype that its slot asks for. */
ufm_status experts_check_tensor(const expert_set *e, uint32_t slot, const expert_tensor *item);

/* What tensors beside a layer's experts mean, by what their names have behind the layer's. */
typedef struct router_names {
	const char *weight;
	bool (*changes_scores)(const char *behind);
} router_names;

/* The router among the tensors that begin with the first `prefix_bytes` of a name and a '.' (all, where those are 0), as
 * experts_router gives it. */
ufm_status experts_find_router(const checkpoint *c, const router_names *names, const char *name,
                               uint32_t prefix_bytes, const uint64_t shape[2],
                               const checkpoint_tensor **out);

/* UFM_EFORMAT unless `size` is 1 … max; the line names the tensor. */
ufm_status experts_check_dimension(const checkpoint_tensor *t, uint64_t size, uint32_t max);
ufm_status experts_fail_shape(const checkpoint_tensor *t, uint32_t rank, const uint64_t *shape);

#endif
