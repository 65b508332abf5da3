/* SPDX-License-Identifier: MIT */
/* Turns a parsed table into JSON: numbers stay numbers, sizes are bytes, zero words are words. */
#include "cli/options_json.h"

#include "cli/json_put.h"
#include "cli/json_text.h"

static json_t *list_json(const option_spec *spec, const option_list *list)
{
	json_t *array = json_array();
	char name[32];
	for (uint32_t i = 0; i < list->count; i++)
		json_add(array, spec->type == OPTION_CHOICES
		                    ? json_string(option_choice_name(spec->choices, list->items[i], name,
		                                                     sizeof name))
		                    : json_integer(list->items[i]));
	return array;
}

static json_t *number_json(const option_spec *spec, const void *at)
{
	if (spec->type == OPTION_NUMBER)
		return *(const double *)at > 0 || !spec->zero_word ? json_real(*(const double *)at) : NULL;
	if (spec->type == OPTION_U32)
		return *(const uint32_t *)at || !spec->zero_word ? json_integer(*(const uint32_t *)at)
		                                                 : NULL;
	return *(const uint64_t *)at || !spec->zero_word
	           ? json_integer((json_int_t) * (const uint64_t *)at)
	           : NULL;
}

static json_t *value_json(const option_spec *spec, const void *values)
{
	const void *at = (const char *)values + spec->offset;
	char text[64];
	json_t *number;
	switch (spec->type) {
	case OPTION_FLAG:
		return json_boolean(*(const uint32_t *)at);
	case OPTION_CHOICE:
		return json_string(option_value_text(spec, values, text, sizeof text));
	case OPTION_CHOICES:
	case OPTION_U32_LIST:
		return list_json(spec, at);
	case OPTION_STRING:
		return json_text(*(const char *const *)at);
	default:
		number = number_json(spec, at);
		return number ? number : json_string(spec->zero_word);
	}
}

json_t *options_json(const option_table *table, const void *values, const option_state *state)
{
	json_t *object = json_object();
	for (uint32_t i = 0; i < table->count; i++) {
		json_t *entry = json_object();
		json_put(entry, "value", value_json(&table->specs[i], values));
		json_put(entry, "origin", json_string(state->origins[i]));
		json_put(object, table->specs[i].name, entry);
	}
	return object;
}
