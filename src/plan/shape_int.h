/* SPDX-License-Identifier: MIT */
/* Shapes of what may lie at a path, for shape*.c. What had to be assumed is in out->notes. */
#ifndef UFM_PLAN_SHAPE_INT_H
#define UFM_PLAN_SHAPE_INT_H

#include "bank/model_config.h"
#include "plan/shape.h"

/* Of a model's config.json alone, before its weights are there: of the tower with that prefix (NULL: the main one).
 * UFM_EFILE, UFM_EFORMAT: the file, the key, and what was expected. */
ufm_status shape_of_config(const char *path, const char *prefix, plan_shape *out);

/* Of a checkpoint whose weights are there. UFM_EFILE, UFM_EFORMAT: the weights do not say the shape, nor the
 * config.json beside them how many experts a token has. Weights that can be described but not run are planned, with a
 * note. */
ufm_status shape_of_weights(const char *path, const char *prefix, plan_shape *out);

#endif
