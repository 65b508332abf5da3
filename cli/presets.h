/* SPDX-License-Identifier: MIT */
/* Published shapes of routed models: what their experts and routers are, without any weight. */
#ifndef CLI_PRESETS_H
#define CLI_PRESETS_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/ufm.h>

#include "bank/bank_shape.h"

/* Choices of an option; 0 is none. */
#define PRESET_CHOICES \
	"none|mixtral-8x7b|qwen3-30b-a3b|gpt-oss-20b|deepseek-v2-lite|deepseek-v3|olmoe-1b-7b|" \
	"glm-4.5-air"

/* Every expert is gated (gate, up and down, SiLU) without biases, in bf16. */
typedef struct preset {
	const char *name;
	const char *source;   /* the published configuration, as people name it */
	const char *left_out; /* what the model has besides, in words; NULL: nothing */
	uint32_t first_layer; /* number in the model of the first routed layer; the others follow it */
	uint32_t layers;      /* routed */
	uint32_t experts;     /* a layer, routed: shared experts run for every token and never move */
	uint32_t top_k;
	uint32_t d_model, d_hidden;
	ufm_scoring scoring;
	bool norm_topk;
} preset;

/* The choice's preset; NULL for 0 and past the end. */
const preset *preset_at(uint32_t choice);

/* The bank that its routed experts make. */
ufm_status preset_bank(const preset *p, bank_shape *out);

#endif
