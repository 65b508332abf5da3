/* SPDX-License-Identifier: MIT */
/*
 * What a model's config.json says about its routed layers. Nothing is guessed: what it does not say is
 * 0, and what it says that cannot be computed exactly is an obstacle, kept as a line for whoever needs
 * that part.
 */
#ifndef UFM_BANK_MODEL_CONFIG_H
#define UFM_BANK_MODEL_CONFIG_H

#include <ufm/ufm.h>

#define MODEL_TEXT_BYTES 128u

typedef enum model_said { MODEL_NOT_SAID = 0, MODEL_NO, MODEL_YES } model_said;

typedef struct model_config {
	char model_type[MODEL_TEXT_BYTES];   /* "" when not said */
	char hidden_act[MODEL_TEXT_BYTES];   /* as it is spelt there; "" when not said */
	ufm_activation activation;           /* 0: not said, or one that is unknown */
	uint32_t experts;                    /* a layer; 0: not said */
	uint32_t top_k;                      /* 0: not said */
	model_said norm_topk;                /* the chosen weights are divided by their sum */
	char scoring_func[MODEL_TEXT_BYTES]; /* as it is spelt there; "" when not said */
	ufm_scoring scoring;                 /* 0: not said, or one that is unknown */
	/* "" or one line without the file's name: why experts (router) of this model would be computed
	 * wrongly */
	char expert_obstacle[MODEL_TEXT_BYTES];
	char router_obstacle[MODEL_TEXT_BYTES];
} model_config;

/* Reads a config.json; with path NULL nothing is said. UFM_EFILE, UFM_EFORMAT name the file. */
ufm_status model_config_read(const char *path, model_config *out);
/* The same from text (which is changed); the lines do not name a file. */
ufm_status model_config_parse(char *text, size_t size, model_config *out);

#endif
