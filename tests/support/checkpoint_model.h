/* SPDX-License-Identifier: MIT */
/* A model's tensors for checkpoint tests: routed layers of any naming scheme between tensors that are no
 * routed experts. */
#ifndef UFM_TESTS_CHECKPOINT_MODEL_H
#define UFM_TESTS_CHECKPOINT_MODEL_H

#include "support/checkpoint_file.h"

enum { MODEL_TENSORS_MAX = 256, MODEL_NAME_BYTES = 80 };

/* Names of experts: gate_proj …, w1 …, fused, up and down alone, with biases. */
typedef enum model_scheme { GATED, LETTERS, FUSED, PLAIN, BIASES, SCHEMES } model_scheme;

typedef struct model_shape {
	model_scheme scheme;
	uint32_t layers, experts, d_model, d_hidden;
	const char *dtype;
} model_shape;

typedef struct test_model {
	char names[MODEL_TENSORS_MAX][MODEL_NAME_BYTES];
	test_tensor tensors[MODEL_TENSORS_MAX];
	uint32_t count;
} test_model;

/* Appends a tensor of up to three dimensions. */
test_tensor *model_add(test_model *m, const char *dtype, uint32_t rank, uint64_t a, uint64_t b,
                       uint64_t c, const char *format, ...) __attribute__((format(printf, 7, 8)));
/* Replaces what is there. The routed layers are 1, 3, …; each has a router and shared experts. */
void model_build(test_model *m, const model_shape *shape);
/* Aborts when there is no tensor of that name. */
test_tensor *model_find(test_model *m, const char *name);

#endif
