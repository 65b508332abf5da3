/* SPDX-License-Identifier: MIT */
/* Finds the object of a config.json that is about the routed layers: models that also see, hear or speak
 * keep what is said about text apart, some of them two objects deep. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bank/model_config_int.h"
#include "base/text.h"

static const char *const nests[] = {"text_config", "language_config", "llm_config",
                                    "thinker_config"};

void config_obstacle(char out[MODEL_TEXT_BYTES], const char *format, ...)
{
	va_list args;

	if (*out)
		return;
	va_start(args, format);
	vsnprintf(out, MODEL_TEXT_BYTES, format, args);
	va_end(args);
}

/* Whether the object itself says how many experts a layer has. */
static bool has_experts(const config_node *object)
{
	const char *keys = config_keys(CONFIG_EXPERTS);
	const config_node *ffn = config_find(object, "ffn_config");
	char key[CONFIG_KEY_BYTES];

	while (config_next_key(&keys, key)) {
		if (config_find(object, key) || (ffn && config_find(ffn, key)))
			return true;
	}
	return false;
}

/* Whether the key is one of the tower's components and "_config". */
static bool is_of_tower(const char *key, const char *tower)
{
	size_t length = strlen(key) - strlen("_config");

	for (const char *at = tower; *at; at += strcspn(at, "."), at += *at == '.') {
		if (strcspn(at, ".") == length && strncmp(at, key, length) == 0)
			return true;
	}
	return false;
}

/* The part that is named as the tower is. */
static const config_node *find_part(const config_node *object, const char *tower)
{
	for (const config_node *at = object + 1; at < object + object->span; at += at->span) {
		if (at->kind == CONFIG_OBJECT && text_ends_with(at->key, "_config") &&
		    is_of_tower(at->key, tower))
			return at;
	}
	return NULL;
}

/* What is said about the tower that thinks is not about the one that talks. */
static bool is_of_another(const char *nest, const char *tower)
{
	return strcmp(nest, "thinker_config") == 0 && is_of_tower("talker_config", tower);
}

/* The deepest of the nested objects that has experts, or the deepest at all: its chain. */
static bool descend(const config_node *object, config_reader *r, bool with_experts)
{
	const config_node *part = find_part(object, r->tower);

	if (r->depth == CONFIG_CHAIN_MAX)
		return false;
	r->chain[r->depth++] = object;
	if (part && descend(part, r, with_experts))
		return true;
	for (size_t i = 0; i < sizeof nests / sizeof nests[0]; i++) {
		const config_node *nested = config_find(object, nests[i]);

		if (nested && nested != part && nested->kind == CONFIG_OBJECT &&
		    !is_of_another(nests[i], r->tower) && descend(nested, r, with_experts))
			return true;
	}
	if (!with_experts || has_experts(object))
		return true;
	r->depth--;
	return false;
}

static bool is_chained(const config_reader *r, const config_node *object)
{
	for (uint32_t i = 0; i < r->depth; i++) {
		if (r->chain[i] == object)
			return true;
	}
	return false;
}

/* Whether the object or one below it has experts. */
static bool holds_experts(const config_node *object)
{
	for (const config_node *at = object; at < object + object->span; at++) {
		if (at->kind == CONFIG_OBJECT && has_experts(at))
			return true;
	}
	return false;
}

/* Other towers may have experts, too; the key of the first goes to `others`. */
static void find_others(const config_reader *r, char *others)
{
	for (uint32_t i = 0; i < r->depth; i++) {
		const config_node *object = r->chain[i];

		for (const config_node *at = object + 1; at < object + object->span; at += at->span) {
			if (at->kind == CONFIG_OBJECT && !is_chained(r, at) &&
			    strcmp(at->key, "ffn_config") != 0 && holds_experts(at))
				config_obstacle(others, "%.100s", at->key);
		}
	}
}

/* The key of the part that the tower's name led to. */
static const char *find_part_key(const config_reader *r)
{
	for (uint32_t i = r->depth; i-- > 1;) {
		if (text_ends_with(r->chain[i]->key, "_config") && is_of_tower(r->chain[i]->key, r->tower))
			return r->chain[i]->key;
	}
	return "";
}

static const char *find_model_type(const config_reader *r)
{
	for (uint32_t i = r->depth; i-- > 0;) {
		const config_node *type = config_find(r->chain[i], "model_type");

		if (type && type->kind == CONFIG_TEXT)
			return type->text;
	}
	return "";
}

/* A part that nobody knows by name may be known by that of the whole. */
static void find_family(config_reader *r)
{
	static const config_family unknown = {.names = ""};

	r->family = &unknown;
	for (uint32_t i = r->depth; i-- > 0 && !r->family_known;) {
		const config_node *type = config_find(r->chain[i], "model_type");
		const config_family *family =
			type && type->kind == CONFIG_TEXT ? config_family_of(type->text) : NULL;

		if (!family)
			continue;
		r->family = family;
		r->family_known = true;
		r->family_type = type->text;
	}
}

void config_find_section(const config_node *root, config_reader *r)
{
	r->depth = 0;
	if (!descend(root, r, true))
		descend(root, r, false);
	r->section = r->chain[r->depth - 1];
	find_family(r);
	snprintf(r->m->model_type, sizeof r->m->model_type, "%s", find_model_type(r));
	snprintf(r->m->part, sizeof r->m->part, "%s", find_part_key(r));
	find_others(r, r->m->others);
	if (*r->m->others && !has_experts(r->section))
		config_obstacle(r->m->shape_obstacle,
		                "routed experts are found under %.60s alone, expected them at the top or "
		                "under text_config",
		                r->m->others);
}

const config_node *config_said(const config_reader *r, const char *key)
{
	const config_node *ffn = config_find(r->section, "ffn_config");
	const config_node *found = config_find(r->section, key);

	return found || !ffn ? found : config_find(ffn, key);
}

const config_node *config_first_said(const config_reader *r, const char *keys,
                                     char key[CONFIG_KEY_BYTES])
{
	while (config_next_key(&keys, key)) {
		const config_node *found = config_said(r, key);

		if (found)
			return found;
	}
	return NULL;
}

/* ---- counts */

/* The entry that all routed layers share. Without layers: that all entries share. */
static bool read_entries(const config_reader *r, const char *key, const config_node *list,
                         uint32_t most, uint32_t *out, char obstacle[MODEL_TEXT_BYTES])
{
	const model_config *m = r->m;
	const config_node *item = list + 1;
	uint32_t first = 0, value;
	char words[CONFIG_KEY_BYTES];

	if (list->count == 0 || (m->layers && list->count != m->layers)) {
		config_obstacle(obstacle,
		                "%s is a list of %u, expected a number or one for each of %u layers", key,
		                list->count, m->layers);
		return false;
	}
	for (uint32_t i = 0; i < list->count; i++, item += item->span) {
		if (m->layers && !model_config_is_routed(m, i))
			continue;
		if (!config_whole(item, 1, most, &value)) {
			config_obstacle(obstacle,
			                "%s has %s for layer %u, expected a whole number from 1 to %u", key,
			                config_words(item, words, sizeof words), i, most);
			return false;
		}
		if (*out && *out != value) {
			config_obstacle(obstacle,
			                "%s is %u for layer %u and %u for layer %u, expected one for all", key,
			                *out, first, value, i);
			return false;
		}
		first = *out ? first : i;
		*out = value;
	}
	return *out != 0;
}

static uint32_t read_one(const config_reader *r, const char *key, const config_node *node,
                         uint32_t most, char obstacle[MODEL_TEXT_BYTES])
{
	uint32_t value = 0;
	char words[CONFIG_KEY_BYTES];

	if (node->kind == CONFIG_LIST)
		return read_entries(r, key, node, most, &value, obstacle) ? value : 0;
	if (!config_whole(node, 1, most, &value))
		config_obstacle(obstacle, "%s is %s, expected a whole number from 1 to %u", key,
		                config_words(node, words, sizeof words), most);
	return value;
}

uint32_t config_read_count(const config_reader *r, const char *keys, uint32_t most,
                           char obstacle[MODEL_TEXT_BYTES])
{
	char key[CONFIG_KEY_BYTES], first[CONFIG_KEY_BYTES] = "";
	uint32_t agreed = 0;

	while (config_next_key(&keys, key)) {
		const config_node *node = config_said(r, key);
		uint32_t value = node ? read_one(r, key, node, most, obstacle) : 0;

		if (value && agreed && value != agreed)
			config_obstacle(obstacle, "%s is %u, and %s is %u", first, agreed, key, value);
		if (value && !agreed) {
			agreed = value;
			memcpy(first, key, sizeof first);
		}
	}
	return agreed;
}
