/* SPDX-License-Identifier: MIT */
/*
 * The parts of the one reader of config.json: which object of the file is about the routed layers
 * (section), what keys mean (keys), what a family's own code does (family), which layers are routed
 * (layout), what an expert is (expert), and how a token's experts are chosen (router).
 */
#ifndef UFM_BANK_MODEL_CONFIG_INT_H
#define UFM_BANK_MODEL_CONFIG_INT_H

#include "bank/config_tree.h"
#include "bank/model_config.h"

#define CONFIG_KEY_BYTES 64u
#define CONFIG_COUNT_MAX 65536u
#define CONFIG_WIDTH_MAX (1u << 20)
#define CONFIG_CHAIN_MAX 8u

/* ---- keys */

typedef enum config_meaning {
	CONFIG_LAYERS,   /* how many layers */
	CONFIG_LAYOUT,   /* which of them are routed */
	CONFIG_ENTRIES,  /* the kind of each layer, which may say so, too */
	CONFIG_SWITCH,   /* false: none is routed */
	CONFIG_EXPERTS,  /* experts a layer */
	CONFIG_TOP_K,    /* experts a token */
	CONFIG_D_MODEL,  /* width of what goes into an expert … */
	CONFIG_D_LATENT, /* … where it is another than the model's */
	CONFIG_D_HIDDEN, /* width inside an expert, the more special key first */
	CONFIG_ACTIVATION,
	CONFIG_ALPHA, /* parameters of an expert, where its family is known to have them … */
	CONFIG_LIMIT,
	CONFIG_ARITHMETIC, /* … and what it computes beside that */
	CONFIG_DTYPE,
	CONFIG_QUANTISED,
	CONFIG_NORM,     /* whether the chosen weights are divided by their sum */
	CONFIG_SCORING,  /* how logits become scores */
	CONFIG_METHOD,   /* how the largest are found */
	CONFIG_ONE,      /* of the router: as if not there when 1 */
	CONFIG_OFF,      /* of the router: as if not there when false or 0 */
	CONFIG_HARMLESS, /* says nothing about which experts there are or who computes what */
	CONFIG_MEANINGS,
} config_meaning;

/* The keys of that meaning, separated by spaces. */
const char *config_keys(config_meaning meaning);
/* Takes the first key off the list; false at its end. */
bool config_next_key(const char **keys, char out[CONFIG_KEY_BYTES]);
/* Whether its name sounds like routed layers, though no table has it. */
bool config_is_unknown(const char *key);

/* ---- families */

typedef enum config_layout {
	CONFIG_FIRST_DENSE = 0, /* first_dense, then all */
	CONFIG_PERIOD,          /* every other one, from the second on */
	CONFIG_PATTERN,         /* one of four: mamba, experts, attention, dense */
} config_layout;

/* What a model type's own code does whatever its file says. */
typedef struct config_family {
	const char *names;    /* values of model_type, separated by spaces */
	config_layout layout; /* where the file does not say which layers are routed */
	uint32_t first_dense;
	bool by_freq;           /* moe_layer_freq n: layers whose number n divides */
	ufm_expert_kind kind;   /* 0: gated */
	const char *layers;     /* the key that counts them; NULL: the usual ones */
	const char *d_hidden;   /* the key that the width of an expert is under; NULL: the usual ones */
	ufm_scoring scoring;    /* 0: as the file says */
	model_said norm_topk;   /* MODEL_NOT_SAID: as the file says */
	const char *left_out;   /* what of an expert a plan does not count */
	const char *shape;      /* why its experts cannot be described */
	const char *arithmetic; /* why an expert would be computed wrongly */
	const char *router;     /* why tokens would go to other experts */
	/* where the file does not say others; 0: an expert has none, and a file that says any is not understood */
	float act_alpha, act_limit;
	float up_offset;
} config_family;

/* NULL: nothing is known about it. */
const config_family *config_family_of(const char *model_type);

/* ---- reading */

typedef struct config_reader {
	const char *tower; /* which stack of layers is meant; "": the main one */
	const config_node *chain[CONFIG_CHAIN_MAX]; /* from the whole file down to the section */
	uint32_t depth;
	const config_node *section;
	const config_family *family; /* never NULL */
	bool family_known;
	const char *family_type; /* the model_type that it is known by */
	model_config *m;
} config_reader;

/* The first obstacle is kept. */
void config_obstacle(char out[MODEL_TEXT_BYTES], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The object that is about the routed layers, and those around it. */
void config_find_section(const config_node *root, config_reader *r);
/* A value of the section, which may also lie in its ffn_config. */
const config_node *config_said(const config_reader *r, const char *key);
/* The first of the keys (separated by spaces) that is said, and which it is. */
const config_node *config_first_said(const config_reader *r, const char *keys,
                                     char key[CONFIG_KEY_BYTES]);
/* The count from 1 to `most` that all of the keys that are said agree on; a list has an entry for each
 * layer, and those of the routed ones must be equal. 0: not said, or an obstacle. */
uint32_t config_read_count(const config_reader *r, const char *keys, uint32_t most,
                           char obstacle[MODEL_TEXT_BYTES]);

/* Whether there are routed layers at all. */
void config_read_switch(config_reader *r);
void config_read_layout(config_reader *r);
void config_read_expert(config_reader *r);
void config_read_router(config_reader *r);

#endif
