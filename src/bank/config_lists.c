/* SPDX-License-Identifier: MIT */
/* Lists that say of each layer what it is, and lists of the numbers of routed layers. */
#include <string.h>

#include "bank/config_layout_int.h"

typedef enum entry_kind { ENTRY_UNKNOWN, ENTRY_DENSE, ENTRY_ROUTED, ENTRY_ATTENTION } entry_kind;

/* Kinds of layers that say how it attends, not what its experts are. */
static bool is_attention(const char *text)
{
	static const char *const kinds[] = {"conv",      "mamba",          "mamba2",
	                                    "hybrid",    "hybrid_sliding", "linear",
	                                    "recurrent", "full",           "minimax_m3_sparse"};

	if (strstr(text, "attention"))
		return true;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (strcmp(kinds[i], text) == 0)
			return true;
	}
	return false;
}

static entry_kind kind_of(const config_node *item)
{
	uint32_t number;

	if (item->kind == CONFIG_BOOL)
		return item->truth ? ENTRY_ROUTED : ENTRY_DENSE;
	if (item->kind == CONFIG_NUMBER && config_whole(item, 0, 1, &number))
		return number ? ENTRY_ROUTED : ENTRY_DENSE;
	if (item->kind != CONFIG_TEXT)
		return ENTRY_UNKNOWN;
	if (strcmp(item->text, "sparse") == 0 || strcmp(item->text, "moe") == 0 ||
	    strcmp(item->text, "hash_moe") == 0)
		return ENTRY_ROUTED;
	if (strcmp(item->text, "dense") == 0 || strcmp(item->text, "mlp") == 0)
		return ENTRY_DENSE;
	return is_attention(item->text) ? ENTRY_ATTENTION : ENTRY_UNKNOWN;
}

static bool fail_entry(config_reader *r, const char *key, const config_node *item, uint32_t layer,
                       const char *expected)
{
	char words[CONFIG_KEY_BYTES];

	config_obstacle(r->m->shape_obstacle, "%s has %s for layer %u, expected %s", key,
	                config_words(item, words, sizeof words), layer, expected);
	return false;
}

/* ---- one entry a layer */

static bool read_entries(config_reader *r, const char *key, const config_node *list, layer_set *out)
{
	const config_node *item = list + 1;

	if (list->kind != CONFIG_LIST || list->count < r->m->layers) {
		char words[CONFIG_KEY_BYTES];

		config_obstacle(r->m->shape_obstacle, "%s is %s, expected a list of %u, one for each layer",
		                key, config_words(list, words, sizeof words), r->m->layers);
		return false;
	}
	/* What is beyond belongs to layers that predict more than one token ahead. */
	for (uint32_t i = 0; i < r->m->layers; i++, item += item->span) {
		entry_kind kind = kind_of(item);

		if (kind == ENTRY_UNKNOWN)
			return fail_entry(r, key, item, i, "sparse or dense, moe, true or false, 1 or 0");
		if (kind == ENTRY_ROUTED)
			layer_set_add(out, i);
	}
	return true;
}

/* Letters: M for mamba, E for experts, * for attention, - for a dense layer. */
static bool read_letters(config_reader *r, const char *key, const config_node *text, layer_set *out)
{
	char words[CONFIG_KEY_BYTES];

	if (text->kind != CONFIG_TEXT || strlen(text->text) < r->m->layers ||
	    text->text[strspn(text->text, "ME*-")] != '\0') {
		config_obstacle(r->m->shape_obstacle,
		                "%s is %s, expected a letter M, E, * or - for each layer", key,
		                config_words(text, words, sizeof words));
		return false;
	}
	for (uint32_t i = 0; i < r->m->layers; i++) {
		if (text->text[i] == 'E')
			layer_set_add(out, i);
	}
	return true;
}

/* ---- numbers of layers */

static bool take_layer(config_reader *r, const char *key, const config_node *item, bool add,
                       layer_set *set)
{
	uint32_t number;
	char words[CONFIG_KEY_BYTES];

	if (!config_whole(item, 0, CONFIG_COUNT_MAX, &number)) {
		config_obstacle(r->m->shape_obstacle, "%s lists %s, expected numbers of layers", key,
		                config_words(item, words, sizeof words));
		return false;
	}
	/* Layers that predict further ahead may be listed, and are none of these. */
	if (number < r->m->layers && add)
		layer_set_add(set, number);
	else if (number < r->m->layers)
		layer_set_remove(set, number);
	return true;
}

/* "3,4,5": the same as a text. */
static bool take_text(config_reader *r, const char *key, const char *text, bool add, layer_set *set)
{
	while (*text) {
		size_t length = strcspn(text, ",");
		size_t digits = strspn(text, "0123456789");
		config_node item = {.kind = digits == length && length ? CONFIG_NUMBER : CONFIG_TEXT,
		                    .text = text,
		                    .text_bytes = (uint32_t)length};

		if (!take_layer(r, key, &item, add, set))
			return false;
		text += length + (text[length] == ',');
	}
	return true;
}

bool layer_set_take_listed(config_reader *r, const char *key, const config_node *list, bool add,
                           layer_set *set)
{
	const config_node *item = list + 1;
	char words[CONFIG_KEY_BYTES];

	if (list->kind == CONFIG_TEXT)
		return take_text(r, key, list->text, add, set);
	if (list->kind != CONFIG_LIST) {
		config_obstacle(r->m->shape_obstacle, "%s is %s, expected a list of layers", key,
		                config_words(list, words, sizeof words));
		return false;
	}
	for (uint32_t i = 0; i < list->count; i++, item += item->span) {
		if (!take_layer(r, key, item, add, set))
			return false;
	}
	return true;
}

static bool read_numbers(config_reader *r, const char *key, const config_node *list, layer_set *out)
{
	return layer_set_take_listed(r, key, list, true, out);
}

/* ---- kinds of layers, which are mostly those of attention */

/* Whether an entry is about what comes after attention. */
static bool has_routed_entries(const config_node *list)
{
	const config_node *item = list + 1;

	for (uint32_t i = 0; list->kind == CONFIG_LIST && i < list->count; i++, item += item->span) {
		entry_kind kind = item->kind == CONFIG_TEXT ? kind_of(item) : ENTRY_UNKNOWN;

		if (kind == ENTRY_ROUTED || kind == ENTRY_DENSE)
			return true;
	}
	return false;
}

const config_node *config_layer_entries(const config_reader *r)
{
	const char *keys = config_keys(CONFIG_ENTRIES);
	char key[CONFIG_KEY_BYTES];
	const config_node *letters = config_said(r, "hybrid_override_pattern");

	while (config_next_key(&keys, key)) {
		const config_node *list = config_said(r, key);

		if (list && list->kind == CONFIG_LIST && list->count &&
		    (r->family->layout == CONFIG_PATTERN || has_routed_entries(list)))
			return list;
	}
	return letters && letters->kind == CONFIG_TEXT && *letters->text ? letters : NULL;
}

/* A list of kinds of attention says nothing about experts; one that is not understood may. */
static bool check_attention(config_reader *r, const char *key, const config_node *list)
{
	const config_node *item = list + 1;

	for (uint32_t i = 0; list->kind == CONFIG_LIST && i < list->count; i++, item += item->span) {
		if (item->kind != CONFIG_TEXT || kind_of(item) == ENTRY_UNKNOWN)
			return fail_entry(r, key, item, i, "a kind of attention, or moe or mlp");
	}
	return true;
}

/* ---- all of them */

static const struct {
	const char *key;
	bool (*read)(config_reader *r, const char *key, const config_node *value, layer_set *out);
} lists[] = {
	{"mlp_layer_types", read_entries}, {"is_moe_layer", read_entries},
	{"moe_layer_freq", read_entries},  {"moe_layers", read_numbers},
	{"moe_layers_enum", read_numbers}, {"layers_block_type", read_entries},
	{"layer_types", read_entries},     {"hybrid_override_pattern", read_letters},
};

/* Whether the value says of this reader's layers which are routed. */
static bool is_layout(const config_reader *r, const char *key, const config_node *value)
{
	if (strcmp(key, "moe_layer_freq") == 0)
		return value->kind == CONFIG_LIST;
	if (strcmp(key, "layer_types") == 0 || strcmp(key, "layers_block_type") == 0)
		return value == config_layer_entries(r);
	return true;
}

bool config_read_lists(config_reader *r, layer_set *all, char by[CONFIG_KEY_BYTES])
{
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		const config_node *value = config_said(r, lists[i].key);
		layer_set found = {{0}};

		if (!value)
			continue;
		if (!is_layout(r, lists[i].key, value)) {
			if (value->kind == CONFIG_LIST && !check_attention(r, lists[i].key, value))
				return false;
			continue;
		}
		if (!lists[i].read(r, lists[i].key, value, &found) ||
		    !config_agree(r, lists[i].key, &found, all, by))
			return false;
	}
	return true;
}
