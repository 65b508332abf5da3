/* SPDX-License-Identifier: MIT */
/* What the sources of facts about checkpoints share. */
#ifndef CLI_INFO_INT_H
#define CLI_INFO_INT_H

#include <jansson.h>

#include "bank/towers.h"
#include "checkpoint/checkpoint.h"

/* Replaces what the object has under that name; text NULL or "": null. */
void info_set_text(json_t *facts, const char *name, const char *text);
void info_set_whole(json_t *facts, const char *name, uint64_t value);

const char *info_kind_name(ufm_expert_kind kind);
const char *info_activation_name(ufm_activation activation);
/* numbers NULL: 0 … count-1. */
json_t *info_numbers(const uint32_t *numbers, uint32_t count);
/* What a model says of its router, with 0 layers that have one. */
json_t *info_router(const model_config *model);
/* The failure becomes a fact where it is one, and else is given back. */
ufm_status info_set_obstacle(json_t *facts, ufm_status status);

/* The experts of GGUF files. */
ufm_status info_gguf(json_t *facts, const checkpoint *c, const towers *t, ufm_dtype f16_as);

#endif
