/* SPDX-License-Identifier: MIT */
/* Sets of layers, and the lists by which files name them. */
#ifndef UFM_BANK_CONFIG_LAYOUT_INT_H
#define UFM_BANK_CONFIG_LAYOUT_INT_H

#include "bank/model_config_int.h"

typedef struct layer_set {
	uint64_t bits[MODEL_LAYERS_MAX / 64];
} layer_set;

static inline void layer_set_add(layer_set *set, uint32_t layer)
{
	set->bits[layer / 64] |= UINT64_C(1) << layer % 64;
}

static inline void layer_set_remove(layer_set *set, uint32_t layer)
{
	set->bits[layer / 64] &= ~(UINT64_C(1) << layer % 64);
}

static inline bool layer_set_has(const layer_set *set, uint32_t layer)
{
	return set->bits[layer / 64] >> layer % 64 & 1;
}

/* Adds the layers whose numbers the value of `key` lists, or takes them out. false: an obstacle. */
bool layer_set_take_listed(config_reader *r, const char *key, const config_node *list, bool add,
                           layer_set *set);

/* The value that has an entry (of a list) or a letter for each layer, experts among them: it says how many
 * layers there are. NULL: there is none, as lists of kinds of attention are none. */
const config_node *config_layer_entries(const config_reader *r);

/* Every list that says which layers are routed; all must say the same. `by` becomes the key of the first.
 * false: an obstacle. */
bool config_read_lists(config_reader *r, layer_set *all, char by[CONFIG_KEY_BYTES]);
/* The same for one set more; false: it says otherwise than `all`, which is by the key `by`. */
bool config_agree(config_reader *r, const char *key, const layer_set *found, layer_set *all,
                  char by[CONFIG_KEY_BYTES]);

#endif
