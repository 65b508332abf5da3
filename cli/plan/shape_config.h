/* SPDX-License-Identifier: MIT */
/* The routed experts that a model's config.json alone describes, before its weights are there. */
#ifndef CLI_PLAN_SHAPE_CONFIG_H
#define CLI_PLAN_SHAPE_CONFIG_H

#include "bank/model_config.h"
#include "cli/plan/shape.h"

/* Of the tower with that prefix (NULL: the main one). UFM_EFILE, UFM_EFORMAT: the file, the key, and what was
 * expected. What had to be assumed is in out->notes. */
ufm_status shape_of_config(const char *path, const char *prefix, plan_shape *out);

/* How the model chooses experts, as far as it says so, into a shape. */
void shape_routing(const model_config *m, plan_shape *s);

#endif
