/* SPDX-License-Identifier: MIT */
/* The routed experts of a checkpoint whose weights are there. */
#ifndef CLI_PLAN_SHAPE_WEIGHTS_H
#define CLI_PLAN_SHAPE_WEIGHTS_H

#include "cli/plan/shape.h"

/* UFM_EFILE, UFM_EFORMAT: the weights do not say the shape, nor the config.json beside them how many
 * experts a token has. Weights that can be described but not run are planned, with a note. */
ufm_status shape_of_weights(const char *path, const char *prefix, plan_shape *out);

#endif
