/* SPDX-License-Identifier: MIT */
/* The routed experts that a plan is for: of a checkpoint, a config.json, or given. */
#ifndef UFM_PLAN_SHAPE_H
#define UFM_PLAN_SHAPE_H

#include <ufm/ufm.h>

#include "bank/bank_shape.h"

typedef struct plan_shape {
	char name[160];   /* as people call it, or "the given shape" */
	char notes[1024]; /* whole sentences on what was taken for what; "" : nothing */
	bank_shape bank;
	uint32_t top_k;
} plan_shape;

/* A checkpoint (file, index or folder with weights), or a config.json or a folder that holds one: what is not
 * downloaded yet can be planned. `prefix` chooses among its towers (NULL: the usual one). UFM_EFILE, UFM_EFORMAT
 * name the file and what is missing. */
ufm_status shape_of_path(const char *path, const char *prefix, plan_shape *out);

typedef struct shape_given {
	uint32_t layers, experts, top_k, d_model, d_hidden;
	ufm_expert_kind kind;
	ufm_dtype dtype;
} shape_given;
/* Experts of all layers: more than five times the largest published model has, and about a minute of planning. */
#define SHAPE_EXPERTS_MAX (1u << 17)

/* Of any bank's experts. UFM_EINVAL names the number. */
ufm_status shape_check(const plan_shape *s);
/* UFM_EINVAL names the number. */
ufm_status shape_of_given(const shape_given *given, plan_shape *out);

/* The same experts, described otherwise. UFM_EINVAL: the description is wrong, or of another size. */
ufm_status shape_describe(plan_shape *s, const ufm_expert_desc *desc);

/* One more sentence; what does not fit is cut. */
void shape_note(plan_shape *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Weights of one expert, which a token multiplies once each. */
double shape_parameters(const plan_shape *s);

#endif
