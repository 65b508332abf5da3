/* SPDX-License-Identifier: MIT */
/* Prints the JSON of options_json for people. */
#include "cli/options_markdown.h"

#include <string.h>

#include "base/size.h"

static void print_value(sheet *to, const option_table *table, const char *name, const json_t *value)
{
	char size[32];
	size_t i;
	json_t *item;
	uint32_t option = options_find(table, name);
	bool is_size = option < OPTIONS_MAX && table->specs[option].type == OPTION_SIZE;
	if (json_is_string(value))
		sheet_text(to, json_string_value(value));
	else if (json_is_integer(value) && is_size)
		sheet_text(to, size_format((uint64_t)json_integer_value(value), size, sizeof size));
	else if (json_is_integer(value))
		sheet_print(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		sheet_print(to, "%g", json_real_value(value));
	else if (json_is_boolean(value))
		sheet_text(to, json_is_true(value) ? "yes" : "no");
	json_array_foreach(value, i, item)
	{
		sheet_text(to, i ? "," : "");
		print_value(to, table, "", item);
	}
}

void options_markdown(sheet *to, const option_table *table, json_t *config)
{
	const char *name;
	json_t *entry;
	bool first = true;
	sheet_print(to, "\nConfiguration: ");
	json_object_foreach(config, name, entry)
	{
		const char *origin = json_string_value(json_object_get(entry, "origin"));
		const json_t *value = json_object_get(entry, "value");
		if (json_is_null(value))
			continue;
		sheet_print(to, "%s%s ", first ? "" : ", ", name);
		first = false;
		print_value(to, table, name, value);
		if (strcmp(origin, "default") != 0)
			sheet_print(to, " (%s)", origin);
	}
	sheet_print(to, ".\n");
}
