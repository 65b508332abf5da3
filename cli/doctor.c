/* SPDX-License-Identifier: MIT */
/* ufm doctor: says what this machine has and what would work on it. */
#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/doctor_parts.h"
#include "cli/exit.h"
#include "cli/json_memory.h"
#include "cli/json_print.h"
#include "cli/json_put.h"
#include "cli/machine.h"
#include "cli/message.h"
#include "cli/option_rows.h"
#include "cli/sheet.h"

#define VALUE_COLUMN 24

enum { DOCTOR_TEXT, DOCTOR_JSON };

typedef struct doctor_config {
	uint32_t format;
	const char *out;
} doctor_config;

#define OPTION_VALUES doctor_config

static const option_spec specs[] = {
	OPTION_ROW_FORMAT("text", "text|json", ""),
	OPTION_ROW_OUT("The results folder whose disk is looked at.", .fallback = "results"),
};

static const option_table doctor_options = {
	.command = "doctor",
	.summary = "Says what this machine has and what would work on it.",
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};

static json_t *examine(const doctor_config *config)
{
	limits here;
	json_t *found = json_object();
	limits_read(&here);
	json_put(found, "versions", machine_versions());
	json_put(found, "gpu", doctor_gpus());
	json_put(found, "backends", doctor_backends());
	json_put(found, "cpu", machine_cpu(&here));
	json_put(found, "memory", machine_memory(&here));
	json_put(found, "disk", doctor_disk(config->out));
	json_put(found, "programs", doctor_programs());
	json_put(found, "verdict", doctor_verdict(found));
	return found;
}

/* null is "none" for limits and "not there" for things. */
static void print_scalar(sheet *to, const char *name, const json_t *value)
{
	char size[32];
	if (json_is_string(value))
		sheet_print(to, "%s\n", json_string_value(value));
	else if (json_is_integer(value) && text_ends_with(name, "_bytes"))
		sheet_print(to, "%s\n",
		            size_format((uint64_t)json_integer_value(value), size, sizeof size));
	else if (json_is_integer(value))
		sheet_print(to, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	else if (json_is_real(value))
		sheet_print(to, "%g\n", json_real_value(value));
	else if (json_is_boolean(value))
		sheet_print(to, "%s\n", json_is_true(value) ? "yes" : "no");
	else
		sheet_print(to, "none\n");
}

/* "gpu" and "_bytes" are for programs: people read "link speed max" and "free". */
static void print_name(sheet *to, int indent, const char *name, bool padded)
{
	char words[64];
	int length = (int)strlen(name) - (text_ends_with(name, "_bytes") ? 6 : 0);
	snprintf(words, sizeof words, "%.*s", length, name);
	for (char *at = words; *at; at++)
		*at = *at == '_' && name[0] != 'U' ? ' ' : *at;
	sheet_print(to, "%*s%s", indent, "", words);
	if (padded)
		sheet_print(to, "%*s", length < VALUE_COLUMN - indent ? VALUE_COLUMN - indent - length : 1,
		            "");
}

static void print_members(sheet *to, json_t *object, int indent)
{
	const char *name;
	json_t *value, *item;
	size_t i;
	json_object_foreach(object, name, value)
	{
		bool nested = json_is_object(value) || json_array_size(value) > 0;
		print_name(to, indent, name, !nested);
		if (json_is_object(value)) {
			sheet_print(to, "\n");
			print_members(to, value, indent + 2);
		} else if (json_is_array(value)) {
			sheet_print(to, "%s\n", nested ? "" : "none");
			json_array_foreach(value, i, item)
			{
				print_members(to, item, indent + 2);
				if (i + 1 < json_array_size(value))
					sheet_print(to, "\n");
			}
		} else {
			print_scalar(to, name, value);
		}
	}
}

static void print_text(sheet *to, json_t *found)
{
	const char *part;
	json_t *value, *line;
	size_t i;
	bool bold = message_colour(stdout);
	json_object_foreach(found, part, value)
	{
		/* Escape sequences are not for sheets. */
		fprintf(to->to, "%s%s%s\n", bold ? "\033[1m" : "", part, bold ? "\033[0m" : "");
		if (json_is_object(value))
			print_members(to, value, 2);
		json_array_foreach(value, i, line)
		{
			sheet_print(to, "  - %s\n", json_string_value(line));
		}
		if (strcmp(part, "verdict") != 0)
			sheet_print(to, "\n");
	}
}

static void no_log(void *ctx, ufm_log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	(void)line;
}

static int doctor_run(int argc, char *argv[])
{
	doctor_config config = {.format = DOCTOR_TEXT};
	option_state state;
	json_t *found;
	int exit_code;
	if (!command_read(&doctor_options, argc, argv, SIZE_MAX, &config, &state, &exit_code))
		return exit_code;
	/* What the library would note is part of the report. */
	ufm_set_log(no_log, NULL);
	found = examine(&config);
	if (config.format == DOCTOR_JSON) {
		(void)json_print(stdout, found, JSON_INDENT(2));
	} else if (!json_memory_check()) {
		sheet to = sheet_open(stdout, false);
		to.indent = VALUE_COLUMN;
		print_text(&to, found);
	}
	json_decref(found);
	return command_finish(&doctor_options, CLI_OK);
}

const command doctor_command = {.options = &doctor_options, .run = doctor_run};
