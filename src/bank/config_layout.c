/* SPDX-License-Identifier: MIT */
/* Which layers are routed. Files say it by lists of layers and by rules that count; where they say it in
 * more than one way, all must say the same, but for lists that go before. */
#include <stdio.h>
#include <string.h>

#include "bank/config_layout_int.h"

/* A rule that counts layers: its keys, and the layers that follow from them. `false`: an obstacle. */
typedef struct counting_rule {
	const char *keys;
	bool (*layers)(config_reader *r, layer_set *out);
} counting_rule;

/* ---- values of rules */

/* The first of the keys that is said must be a whole number; none: `otherwise`. */
static bool take_number(config_reader *r, const char *keys, uint32_t least, uint32_t otherwise,
                        uint32_t *out)
{
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];
	const config_node *node = config_first_said(r, keys, key);

	*out = otherwise;
	if (!node || config_whole(node, least, CONFIG_COUNT_MAX, out))
		return true;
	config_obstacle(r->m->shape_obstacle, "%s is %s, expected a whole number from %u to %u", key,
	                config_words(node, words, sizeof words), least, CONFIG_COUNT_MAX);
	return false;
}

/* ---- rules that count */

/* DeepSeek's: dense ones first, then every layer whose number is a multiple. */
static bool dense_first(config_reader *r, layer_set *out)
{
	const config_node *freq = config_said(r, "moe_layer_freq");
	uint32_t dense, every = 1;

	if (!take_number(r, "first_k_dense_replace num_dense_layers dense_mlp_idx", 0,
	                 r->family->first_dense, &dense))
		return false;
	if (freq && freq->kind != CONFIG_LIST && !take_number(r, "moe_layer_freq", 1, 1, &every))
		return false;
	if (every > 1 && !r->family->by_freq) {
		config_obstacle(r->m->shape_obstacle,
		                "moe_layer_freq is %u, expected 1 or a list: which layers it means is not "
		                "known of model_type \"%.60s\"",
		                every, r->m->model_type);
		return false;
	}
	for (uint32_t i = dense; i < r->m->layers; i++) {
		if (i % every == 0)
			layer_set_add(out, i);
	}
	return true;
}

/* Qwen's: every so manieth layer, the first one at number step - 1, but none that is listed as dense. */
static bool sparse_step(config_reader *r, layer_set *out)
{
	const config_node *listed = config_said(r, "mlp_only_layers");
	uint32_t step;

	if (!take_number(r, "decoder_sparse_step", 1, 1, &step))
		return false;
	for (uint32_t i = step - 1; i < r->m->layers; i += step)
		layer_set_add(out, i);
	return !listed || layer_set_take_listed(r, "mlp_only_layers", listed, false, out);
}

/* Ernie's: from a first to a last layer, every so manieth; -1 is the last there is. */
static bool between(config_reader *r, layer_set *out)
{
	const config_node *last = config_said(r, "moe_layer_end_index");
	uint32_t begin, end = r->m->layers, interval;

	if (!take_number(r, "moe_layer_start_index", 0, r->family->first_dense, &begin) ||
	    !take_number(r, "moe_layer_interval", 1, 1, &interval))
		return false;
	if (last && !(last->text_bytes == 2 && memcmp(last->text, "-1", 2) == 0)) {
		if (!take_number(r, "moe_layer_end_index", 0, 0, &end))
			return false;
		end = end < r->m->layers ? end + 1 : r->m->layers;
	}
	for (uint32_t i = begin; i < end; i++) {
		if ((i + 1) % interval == 0)
			layer_set_add(out, i);
	}
	return true;
}

/* Llama 4's: the last of every so many. */
static bool interleaved(config_reader *r, layer_set *out)
{
	uint32_t step;

	if (!take_number(r, "interleave_moe_layer_step", 1, 1, &step))
		return false;
	for (uint32_t i = step - 1; i < r->m->layers; i += step)
		layer_set_add(out, i);
	return true;
}

/* Jamba's: one of every so many, at an offset. */
static bool periodic(config_reader *r, layer_set *out)
{
	uint32_t period, offset;

	if (!take_number(r, "expert_layer_period", 1, 2, &period) ||
	    !take_number(r, "expert_layer_offset", 0, 1, &offset))
		return false;
	if (offset >= period) {
		config_obstacle(
			r->m->shape_obstacle,
			"expert_layer_offset is %u, expected less than expert_layer_period, which is %u",
			offset, period);
		return false;
	}
	for (uint32_t i = offset; i < r->m->layers; i += period)
		layer_set_add(out, i);
	return true;
}

static const counting_rule rules[] = {
	{"first_k_dense_replace num_dense_layers dense_mlp_idx moe_layer_freq", dense_first},
	{"decoder_sparse_step mlp_only_layers", sparse_step},
	{"moe_layer_start_index moe_layer_end_index moe_layer_interval", between},
	{"interleave_moe_layer_step", interleaved},
	{"expert_layer_period expert_layer_offset", periodic},
};

/* ---- what is said, together */

/* Which of the rule's keys is said. A list of moe_layer_freq is not for rules that count. */
static bool is_said(const config_reader *r, const counting_rule *rule, char key[CONFIG_KEY_BYTES])
{
	const char *keys = rule->keys;

	while (config_next_key(&keys, key)) {
		const config_node *node = config_said(r, key);

		if (node && !(strcmp(key, "moe_layer_freq") == 0 && node->kind == CONFIG_LIST))
			return true;
	}
	return false;
}

bool config_agree(config_reader *r, const char *key, const layer_set *found, layer_set *all,
                  char by[CONFIG_KEY_BYTES])
{
	if (!*by) {
		*all = *found;
		snprintf(by, CONFIG_KEY_BYTES, "%s", key);
		return true;
	}
	for (uint32_t i = 0; i < r->m->layers; i++) {
		if (layer_set_has(all, i) != layer_set_has(found, i)) {
			config_obstacle(r->m->shape_obstacle,
			                "layer %u is %s by %s and %s by %s, expected the same by both", i,
			                layer_set_has(all, i) ? "routed" : "dense", by,
			                layer_set_has(found, i) ? "routed" : "dense", key);
			return false;
		}
	}
	return true;
}

/* In every family that has one of these lists it goes before rules that count, whose keys keep their
 * defaults beside it. Then a rule needs to be neither right nor alike, but people are told. */
static bool goes_before(const char *by)
{
	return strcmp(by, "mlp_layer_types") == 0 || strcmp(by, "moe_layers") == 0;
}

static void tell_other_rule(config_reader *r, const counting_rule *rule, const char *key,
                            const layer_set *all, const char *by)
{
	char obstacle[MODEL_TEXT_BYTES];
	layer_set found = {{0}};

	memcpy(obstacle, r->m->shape_obstacle, sizeof obstacle);
	if (!rule->layers(r, &found) || memcmp(&found, all, sizeof found) != 0)
		snprintf(r->m->layout_note, sizeof r->m->layout_note,
		         "Its %s says otherwise than its %s, which counts.", key, by);
	memcpy(r->m->shape_obstacle, obstacle, sizeof obstacle);
}

static bool read_rules(config_reader *r, layer_set *all, char by[CONFIG_KEY_BYTES])
{
	char key[CONFIG_KEY_BYTES];

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		layer_set found = {{0}};

		if (!is_said(r, &rules[i], key))
			continue;
		if (goes_before(by)) {
			tell_other_rule(r, &rules[i], key, all, by);
			continue;
		}
		if (!rules[i].layers(r, &found) || !config_agree(r, key, &found, all, by))
			return false;
	}
	return true;
}

/* Where the file says nothing: as the family has it then. */
static void take_default(config_reader *r, layer_set *out)
{
	const config_family *family = r->family;

	for (uint32_t i = 0; i < r->m->layers; i++) {
		if (family->layout == CONFIG_FIRST_DENSE ? i >= family->first_dense
		    : family->layout == CONFIG_PERIOD    ? i % 2 == 1
		                                         : i % 4 == 1)
			layer_set_add(out, i);
	}
	if (family->layout || family->first_dense)
		snprintf(r->m->layout_note, sizeof r->m->layout_note,
		         "It does not say which layers are routed; they are those that model_type %.60s "
		         "has then.",
		         r->family_type);
}

/* A list of all layers says how many there are, too, and goes before: Nemotron-H's own code ignores the
 * number then. */
static uint32_t count_layers(config_reader *r, const config_node *entries)
{
	const char *keys = r->family->layers ? r->family->layers : config_keys(CONFIG_LAYERS);

	if (entries)
		return entries->kind == CONFIG_LIST ? entries->count : (uint32_t)strlen(entries->text);
	if (r->family->layout == CONFIG_PATTERN)
		return 4;
	return config_read_count(r, keys, MODEL_LAYERS_MAX, r->m->shape_obstacle);
}

static bool read_layers(config_reader *r)
{
	const config_node *entries = config_layer_entries(r);
	uint32_t layers = count_layers(r, entries);

	if (layers == 0)
		config_obstacle(r->m->shape_obstacle, "found none of %s, expected one",
		                config_keys(CONFIG_LAYERS));
	else if (layers > MODEL_LAYERS_MAX)
		config_obstacle(r->m->shape_obstacle, "%s has %u layers, expected at most %u", entries->key,
		                layers, MODEL_LAYERS_MAX);
	else
		r->m->layers = layers;
	return r->m->layers != 0;
}

static void keep(config_reader *r, const layer_set *all)
{
	memcpy(r->m->routed, all->bits, sizeof r->m->routed);
	for (uint32_t i = 0; i < r->m->layers; i++)
		r->m->routed_layers += layer_set_has(all, i);
	if (r->m->routed_layers == 0)
		config_obstacle(r->m->shape_obstacle, "found no routed layer, expected at least one");
}

void config_read_layout(config_reader *r)
{
	char by[CONFIG_KEY_BYTES] = "", words[CONFIG_KEY_BYTES];
	const config_node *skipped = config_said(r, "moe_layer_num_skipped");
	layer_set all = {{0}};
	uint32_t none;

	if (skipped && !config_whole(skipped, 0, 0, &none))
		config_obstacle(r->m->shape_obstacle,
		                "moe_layer_num_skipped is %s, which is not understood, expected 0",
		                config_words(skipped, words, sizeof words));
	if (!read_layers(r) || !config_read_lists(r, &all, by) || !read_rules(r, &all, by))
		return;
	if (!*by)
		take_default(r, &all);
	keep(r, &all);
}
