/* SPDX-License-Identifier: MIT */
/* Options for people: values as text, and the --help page. */
#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "cli/exit.h"
#include "cli/options.h"
#include "cli/sheet.h"

#define HELP_INDENT 6

static void list_text(const option_spec *spec, const option_list *list, char *buffer, size_t size)
{
	char item[32];
	size_t used = 0;
	buffer[0] = '\0';
	for (uint32_t i = 0; i < list->count && used < size; i++) {
		if (spec->type == OPTION_CHOICES)
			option_choice_name(spec->choices, list->items[i], item, sizeof item);
		else
			snprintf(item, sizeof item, "%" PRIu32, list->items[i]);
		used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? "," : "", item);
	}
}

static bool is_zero(const option_spec *spec, const void *at)
{
	switch (spec->type) {
	case OPTION_U32:
		return *(const uint32_t *)at == 0;
	case OPTION_U64:
	case OPTION_SIZE:
		return *(const uint64_t *)at == 0;
	case OPTION_NUMBER:
		return !(*(const double *)at > 0);
	default:
		return false;
	}
}

char *option_value_text(const option_spec *spec, const void *values, char *buffer, size_t size)
{
	const void *at = (const char *)values + spec->offset;
	const char *string;
	if (spec->zero_word && is_zero(spec, at)) {
		snprintf(buffer, size, "%s", spec->zero_word);
		return buffer;
	}
	switch (spec->type) {
	case OPTION_FLAG:
		snprintf(buffer, size, "%s", *(const uint32_t *)at ? "yes" : "no");
		break;
	case OPTION_U32:
		snprintf(buffer, size, "%" PRIu32, *(const uint32_t *)at);
		break;
	case OPTION_U64:
		snprintf(buffer, size, "%" PRIu64, *(const uint64_t *)at);
		break;
	case OPTION_SIZE:
		size_format(*(const uint64_t *)at, buffer, size);
		break;
	case OPTION_NUMBER:
		snprintf(buffer, size, "%g", *(const double *)at);
		break;
	case OPTION_STRING:
		string = *(const char *const *)at;
		snprintf(buffer, size, "%s", string ? string : "");
		break;
	case OPTION_CHOICE:
		option_choice_name(spec->choices, *(const uint32_t *)at, buffer, size);
		break;
	case OPTION_CHOICES:
	case OPTION_U32_LIST:
		list_text(spec, at, buffer, size);
		break;
	}
	return buffer;
}

/* " One of f32/bf16."; with commas where one word of all would not fit a line. */
#define CHOICES_WORD_MAX 64
static void append_choices(const option_spec *spec, char *text, size_t size)
{
	char name[32];
	size_t used = strlen(text);
	const char *between = strlen(spec->choices) > CHOICES_WORD_MAX ? ", " : "/";
	const char *before = spec->type == OPTION_CHOICES ? " One or more of " : " One of ";
	for (uint32_t i = 0; *option_choice_name(spec->choices, i, name, sizeof name) && used < size;
	     i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? between : before, name);
	if (used < size)
		snprintf(text + used, size - used, ".");
}

static void append(char *text, size_t size, const char *what, const char *value)
{
	size_t used = strlen(text);
	if (value && used < size)
		snprintf(text + used, size - used, " %s: %s.", what, value);
}

char *option_describe(const option_spec *spec, char *text, size_t size)
{
	snprintf(text, size, "%s%s", spec->required ? "Required. " : "", spec->help);
	if (spec->choices)
		append_choices(spec, text, size);
	append(text, size, "Default", spec->fallback);
	append(text, size, "With --quick", spec->quick);
	return text;
}

static void print_option(sheet *to, const option_spec *spec)
{
	char text[OPTION_TEXT_MAX], letter[8] = "";
	if (spec->letter)
		snprintf(letter, sizeof letter, "-%c, ", spec->letter);
	sheet_print(to, "  %s--%s%s%s\n", letter, spec->name, spec->value_name ? " " : "",
	            spec->value_name ? spec->value_name : "");
	sheet_print(to, "%*s%s\n", HELP_INDENT, "", option_describe(spec, text, sizeof text));
}

void options_help(FILE *stream, const option_table *table)
{
	sheet to = sheet_of_text(stream);
	sheet_print(&to, "Usage: ufm %s [options]%s%s\n\n%s\n\nOptions:\n", table->command,
	            table->operand ? " " : "", table->operand ? table->operand : "", table->summary);
	to.indent = HELP_INDENT;
	for (uint32_t i = 0; i < table->count; i++)
		print_option(&to, &table->specs[i]);
	sheet_print(&to, "  -h, --help\n%*sPrints this page.\n\n%s", HELP_INDENT, "", exit_help);
}
