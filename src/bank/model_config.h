/* SPDX-License-Identifier: MIT */
/*
 * What a model's config.json says about its routed layers: which they are, what an expert is, how a
 * token's experts are chosen. This is the one reader of such files, for those who have the weights and
 * for those who plan without.
 *
 * Nothing is guessed: what is not said is 0, and what is said that is not understood is an obstacle,
 * kept as a line for whoever needs that part. A field that nobody needs is never an obstacle.
 */
#ifndef UFM_BANK_MODEL_CONFIG_H
#define UFM_BANK_MODEL_CONFIG_H

#include <stdbool.h>
#include <ufm/ufm.h>

#define MODEL_TEXT_BYTES 256u
#define MODEL_LAYERS_MAX 4096u

typedef enum model_said { MODEL_NOT_SAID = 0, MODEL_NO, MODEL_YES } model_said;

typedef struct model_config {
	bool is_index;                     /* it has a weight_map: the file is no config.json */
	char model_type[MODEL_TEXT_BYTES]; /* of the part that has the experts; "" when not said */

	char part[MODEL_TEXT_BYTES]; /* the key that was found by the tower's name; "" when none was */

	/* ---- the layers */
	uint32_t layers;                        /* routed or not; 0: not said */
	uint32_t routed_layers;                 /* valid without shape_obstacle */
	uint64_t routed[MODEL_LAYERS_MAX / 64]; /* a bit each: model_config_is_routed */

	/* ---- an expert; the same in every routed layer, or there is an obstacle */
	uint32_t experts; /* a layer; 0: not said */
	uint32_t d_model; /* of what goes into an expert; 0: not said */
	uint32_t d_hidden;
	ufm_expert_kind kind;
	char activation_key[MODEL_TEXT_BYTES]; /* "" when not said */
	char hidden_act[MODEL_TEXT_BYTES];     /* as it is spelt there; "" when not said */
	ufm_activation activation;             /* 0: not said, or one that is unknown */
	/* of a family whose gated experts have them; 0: none (ufm_expert_desc) */
	float act_alpha, act_limit,
		up_offset;                    /* act_limit: of the gate before its activation, and of up */
	char dtype[MODEL_TEXT_BYTES];     /* as it is spelt there; "" when not said */
	char quantised[MODEL_TEXT_BYTES]; /* how it is published quantised; "" when it is not */

	/* ---- the router */
	uint32_t top_k;                        /* 0: not said, for the reason below */
	char top_k_obstacle[MODEL_TEXT_BYTES]; /* "" when it is said */
	model_said norm_topk;                  /* the chosen weights are divided by their sum */
	char scoring_func[MODEL_TEXT_BYTES];   /* as it is spelt there; "" when not said */
	ufm_scoring scoring;                   /* 0: not said, or one that is unknown */

	/* ---- "" or one line without the file's name */
	char
		shape_obstacle[MODEL_TEXT_BYTES]; /* why layers and experts cannot be told from this file */
	char
		expert_obstacle[MODEL_TEXT_BYTES]; /* why experts of this model would be computed wrongly */
	char router_obstacle[MODEL_TEXT_BYTES]; /* why tokens would go to other experts */

	/* ---- "" or a whole sentence on what was taken for what */
	char layout_note[MODEL_TEXT_BYTES];
	char left_out[MODEL_TEXT_BYTES];
	char others
		[MODEL_TEXT_BYTES]; /* the key of another part that has routed experts, which are not told */
} model_config;

static inline bool model_config_is_routed(const model_config *m, uint32_t layer)
{
	return layer < m->layers && (m->routed[layer / 64] >> layer % 64 & 1);
}

/* Reads a config.json; with path NULL nothing is said. `tower` (NULL, "": the main one) names the stack of
 * layers that is meant (bank/towers.h): what is said under "talker_config" is about "talker.model.layers".
 * UFM_EFILE, UFM_EFORMAT name the file. */
ufm_status model_config_read(const char *path, const char *tower, model_config *out);
/* The same from text (which is changed); the lines do not name a file. */
ufm_status model_config_parse(char *text, size_t size, const char *tower, model_config *out);

#endif
