/* SPDX-License-Identifier: MIT */
/*
 * The stacks of routed layers in a checkpoint. A tower is what stands under one name before its layers'
 * numbers: "model.layers" of "model.layers.3.mlp.experts.…". Files hold more than one where a model also
 * speaks ("talker.model.layers") or predicts several tokens at once ("mtp.layers", or layers past the last
 * that config.json counts, each of which is a tower named "model.layers.61"). A bank is of one of them.
 */
#ifndef UFM_BANK_TOWERS_H
#define UFM_BANK_TOWERS_H

#include "bank/experts.h"
#include "bank/model_config.h"
#include "checkpoint/checkpoint.h"

typedef struct tower {
	const char *name; /* of name_bytes, in the checkpoint; none where layers stand at the top */
	uint32_t name_bytes;
	uint32_t tower_bytes;    /* of the name, as expert_name has it */
	const uint32_t *numbers; /* of its layers, ascending */
	uint32_t layers;
} tower;

typedef struct towers {
	tower *items; /* the first is taken, the others are left aside */
	uint32_t count;
	uint32_t *numbers;  /* of all */
	model_config model; /* what config.json says of the one that is taken */
} towers;

/*
 * Finds the towers and reads the config.json beside them. Taken is the tower of most routed layers; of as
 * many, one that is not known to be beside the main one (mtp, talker, …), and then the first by name. `prefix`
 * (NULL, "": none) leaves the choice to those whose name is that or goes on behind it with a '.'.
 *
 * No tower at all is no failure. UFM_EFORMAT when there are some and none has the prefix, and for a config.json that
 * cannot be read; the line names the file. What is found points into `c`.
 */
ufm_status towers_find(const checkpoint *c, const char *prefix, towers *out);
void towers_free(towers *t);

/* Whether the tensor of that name is of one of the tower's layers. */
bool tower_has(const tower *t, const char *tensor, const expert_name *name);

/* Its name, NUL-terminated and cut at `size`; "(no name)" for layers at the top. */
const char *tower_text(const tower *t, char *text, size_t size);

#endif
