/* SPDX-License-Identifier: MIT */
/* Prints the JSON of options_json for people. */
#include "cli/options_markdown.h"

#include <string.h>

#include "base/size.h"

static void print_value(FILE *to, const option_table *table, const char *name, const json_t *value)
{
	char size[32];
	size_t i;
	json_t *item;
	uint32_t option = options_find(table, name);
	bool is_size = option < OPTIONS_MAX && table->specs[option].type == OPTION_SIZE;
	if (json_is_string(value))
		fputs(json_string_value(value), to);
	else if (json_is_integer(value) && is_size)
		fputs(size_format((uint64_t)json_integer_value(value), size, sizeof size), to);
	else if (json_is_integer(value))
		fprintf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		fprintf(to, "%g", json_real_value(value));
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "yes" : "no", to);
	json_array_foreach(value, i, item)
	{
		fputs(i ? "," : "", to);
		print_value(to, table, "", item);
	}
}

void options_markdown(FILE *to, const option_table *table, json_t *config)
{
	const char *name;
	json_t *entry;
	bool first = true;
	fputs("\nConfiguration: ", to);
	json_object_foreach(config, name, entry)
	{
		const char *origin = json_string_value(json_object_get(entry, "origin"));
		const json_t *value = json_object_get(entry, "value");
		if (json_is_null(value))
			continue;
		fprintf(to, "%s%s ", first ? "" : ", ", name);
		first = false;
		print_value(to, table, name, value);
		if (strcmp(origin, "default") != 0)
			fprintf(to, " (%s)", origin);
	}
	fputs(".\n", to);
}
