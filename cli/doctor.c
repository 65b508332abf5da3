/* SPDX-License-Identifier: MIT */
/* ufm doctor: says what this machine has and what would work on it. */
#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/doctor_parts.h"
#include "cli/exit.h"
#include "cli/json_print.h"
#include "cli/json_put.h"
#include "cli/machine.h"
#include "cli/message.h"
#include "cli/option_rows.h"

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
	json_t *found = json_object();
	json_put(found, "versions", machine_versions());
	json_put(found, "gpu", doctor_gpus());
	json_put(found, "backends", doctor_backends());
	json_put(found, "cpu", machine_cpu());
	json_put(found, "memory", machine_memory());
	json_put(found, "disk", doctor_disk(config->out));
	json_put(found, "programs", doctor_programs());
	json_put(found, "verdict", doctor_verdict(found));
	return found;
}

/* null is "none" for limits and "not there" for things. */
static void print_scalar(const char *name, const json_t *value)
{
	char size[32];
	if (json_is_string(value))
		printf("%s\n", json_string_value(value));
	else if (json_is_integer(value) && text_ends_with(name, "_bytes"))
		printf("%s\n", size_format((uint64_t)json_integer_value(value), size, sizeof size));
	else if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	else if (json_is_real(value))
		printf("%g\n", json_real_value(value));
	else if (json_is_boolean(value))
		printf("%s\n", json_is_true(value) ? "yes" : "no");
	else
		printf("none\n");
}

/* "gpu" and "_bytes" are for programs: people read "link speed max" and "free". */
static void print_name(int indent, const char *name, bool padded)
{
	int length = (int)strlen(name) - (text_ends_with(name, "_bytes") ? 6 : 0), width = 24 - indent;
	printf("%*s", indent, "");
	for (int i = 0; i < length; i++, width--)
		putchar(name[i] == '_' && name[0] != 'U' ? ' ' : name[i]);
	if (padded)
		printf("%*s", width > 1 ? width : 1, "");
}

static void print_members(json_t *object, int indent)
{
	const char *name;
	json_t *value, *item;
	size_t i;
	json_object_foreach(object, name, value)
	{
		bool nested = json_is_object(value) || json_array_size(value) > 0;
		print_name(indent, name, !nested);
		if (json_is_object(value)) {
			putchar('\n');
			print_members(value, indent + 2);
		} else if (json_is_array(value)) {
			printf("%s\n", nested ? "" : "none");
			json_array_foreach(value, i, item)
			{
				print_members(item, indent + 2);
				if (i + 1 < json_array_size(value))
					putchar('\n');
			}
		} else {
			print_scalar(name, value);
		}
	}
}

static void print_text(json_t *found)
{
	const char *part;
	json_t *value, *line;
	size_t i;
	bool bold = message_colour(stdout);
	json_object_foreach(found, part, value)
	{
		printf("%s%s%s\n", bold ? "\033[1m" : "", part, bold ? "\033[0m" : "");
		if (json_is_object(value))
			print_members(value, 2);
		json_array_foreach(value, i, line)
		{
			printf("  - %s\n", json_string_value(line));
		}
		if (strcmp(part, "verdict") != 0)
			putchar('\n');
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
	} else {
		print_text(found);
	}
	json_decref(found);
	return command_finish(&doctor_options, CLI_OK);
}

const command doctor_command = {.options = &doctor_options, .run = doctor_run};
