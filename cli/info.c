/* SPDX-License-Identifier: MIT */
/* ufm info: says what experts a packed bank, a checkpoint or a preset holds, and whether they can be run. */
#include "cli/info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/json_memory.h"
#include "cli/json_print.h"
#include "cli/message.h"
#include "cli/option_rows.h"
#include "cli/sheet.h"

enum { INFO_MD, INFO_JSON };

typedef struct info_config {
	uint32_t format, f16_as, preset, wide;
	const char *prefix;
} info_config;

#define OPTION_VALUES info_config

static const option_spec specs[] = {
	OPTION_ROW_F16_AS("What weights in half precision become in the bank."),
	OPTION_ROW_PREFIX,
	OPTION_ROW_PRESET("Instead of a path: the shape that ufm bench --preset runs."),
	OPTION_ROW_FORMAT("md", "md|json", ""),
	OPTION_ROW_WIDE,
};

static const option_table info_options = {
	.command = "info",
	.summary =
		"Says what experts a checkpoint (.safetensors, index, GGUF, folder), a packed bank or "
		"a preset holds.",
	.operand = "[FILE|DIR]",
	.specs = specs,
	.count = sizeof specs / sizeof specs[0],
};

/* ---- the table for people: what is not known has no line */

static void print_text(sheet *to, json_t *facts, const char *title, const char *name)
{
	const json_t *value = json_object_get(facts, name);
	if (json_is_string(value))
		sheet_pair(to, title, json_string_value(value));
}

static void print_whole(sheet *to, json_t *facts, const char *title, const char *name)
{
	char text[32];
	const json_t *value = json_object_get(facts, name);
	if (!json_is_integer(value))
		return;
	snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	sheet_pair(to, title, text);
}

static void print_size(sheet *to, json_t *facts, const char *title, const char *name)
{
	char text[64], size[32];
	const json_t *value = json_object_get(facts, name);
	if (!json_is_integer(value))
		return;
	snprintf(text, sizeof text, "%s (%" JSON_INTEGER_FORMAT " bytes)",
	         size_format((uint64_t)json_integer_value(value), size, sizeof size),
	         json_integer_value(value));
	sheet_pair(to, title, text);
}

static void print_files(sheet *to, json_t *files)
{
	uint64_t sum = 0;
	char text[64], size[32];
	size_t i;
	json_t *file;
	if (!json_is_array(files))
		return;
	json_array_foreach(files, i, file)
	{
		sum += (uint64_t)json_integer_value(json_object_get(file, "bytes"));
	}
	snprintf(text, sizeof text, "%zu, %s", json_array_size(files),
	         size_format(sum, size, sizeof size));
	sheet_pair(to, "files", text);
}

#define NUMBER_BYTES 32
/* "48: 0 … 3, 5, 7 … 47", and what stands behind: runs of numbers are drawn together. However many there are, a row
 * has room for some. */
static void print_runs(sheet *to, const char *name, json_t *numbers, const char *behind)
{
	size_t count = json_array_size(numbers), end;
	char text[2048];
	int used = snprintf(text, sizeof text, "%zu:", count);
	for (size_t i = 0; i < count; i = end) {
		json_int_t first = json_integer_value(json_array_get(numbers, i)), last = first;
		for (end = i + 1; end < count; end++, last++)
			if (json_integer_value(json_array_get(numbers, end)) != last + 1)
				break;
		if (used > (int)sizeof text / 2) {
			sheet_pair(to, name, text);
			name = "";
			used = 0;
		}
		used +=
			snprintf(text + used, NUMBER_BYTES, "%s%" JSON_INTEGER_FORMAT, used ? " " : "", first);
		if (last > first)
			used += snprintf(text + used, NUMBER_BYTES, " … %" JSON_INTEGER_FORMAT, last);
		used += snprintf(text + used, NUMBER_BYTES, "%s", end < count ? "," : "");
	}
	snprintf(text + used, sizeof text - (size_t)used, "%s", behind);
	sheet_pair(to, name, text);
}

static void print_numbers(sheet *to, json_t *numbers)
{
	if (json_is_array(numbers))
		print_runs(to, "routed layers", numbers, "");
}

/* A line for each tower that is not shown, with what shows it. */
static void print_left_aside(sheet *to, json_t *towers)
{
	size_t i;
	json_t *tower;
	json_array_foreach(towers, i, tower)
	{
		char behind[512] = " (no prefix before their numbers)";
		const char *prefix = json_string_value(json_object_get(tower, "prefix"));
		if (prefix)
			snprintf(behind, sizeof behind, " (--prefix %.400s)", prefix);
		print_runs(to, "left aside", json_object_get(tower, "layer_numbers"), behind);
	}
}

/* "gate Q4_K, up Q4_K, down Q6_K, 1.05 MiB an expert, 67.5 MiB a layer", under the layers of that kind. */
static void print_kind(sheet *to, json_t *kind)
{
	char text[256], expert[32], layer[32];
	json_t *bytes = json_object_get(kind, "expert_bytes");
	print_runs(to, "layers", json_object_get(kind, "layer_numbers"), "");
	snprintf(text, sizeof text, "%s, %s an expert, %s a layer",
	         json_string_value(json_object_get(kind, "types")),
	         size_format((uint64_t)json_integer_value(bytes), expert, sizeof expert),
	         size_format((uint64_t)json_integer_value(json_object_get(kind, "layer_bytes")), layer,
	                     sizeof layer));
	sheet_pair(to, "of them each", text);
}

static void print_kinds(sheet *to, json_t *kinds)
{
	size_t i;
	json_t *kind;
	if (json_array_size(kinds) < 2)
		return;
	json_array_foreach(kinds, i, kind)
	{
		print_kind(to, kind);
	}
}

static void print_router(sheet *to, json_t *router, json_int_t layers)
{
	char text[64];
	const json_t *norm = json_object_get(router, "norm_topk");
	json_int_t there = json_integer_value(json_object_get(router, "layers"));
	if (!json_is_object(router))
		return;
	if (there == layers)
		snprintf(text, sizeof text, "in every layer");
	else
		snprintf(text, sizeof text,
		         "in %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " layers", there, layers);
	sheet_pair(to, "router", text);
	print_whole(to, router, "top k", "top_k");
	print_text(to, router, "scoring", "scoring");
	if (json_is_boolean(norm))
		sheet_pair(to, "top k normalised", json_is_true(norm) ? "yes" : "no");
}

static void print_obstacles(sheet *to, json_t *facts)
{
	const json_t *obstacle = json_object_get(facts, "obstacle");
	const json_t *router = json_object_get(json_object_get(facts, "router"), "obstacle");
	if (json_is_string(obstacle))
		sheet_print(to, "\nThese experts cannot be run: %s\n", json_string_value(obstacle));
	if (json_is_string(router))
		sheet_print(to, "\nThis router cannot be used: %s\n", json_string_value(router));
}

static void print_markdown(sheet *to, json_t *facts)
{
	const char *path = json_string_value(json_object_get(facts, "path"));
	sheet_pair(to, path ? "path" : "preset",
	           path ? path : json_string_value(json_object_get(facts, "preset")));
	sheet_pair_rule(to);
	print_text(to, facts, "format", "format");
	print_text(to, facts, "shape of", "source");
	print_text(to, facts, "left out", "left_out");
	print_files(to, json_object_get(facts, "files"));
	print_whole(to, facts, "tensors", "tensors");
	print_text(to, facts, "model type", "model_type");
	print_text(to, facts, "prefix", "prefix");
	print_numbers(to, json_object_get(facts, "layer_numbers"));
	print_left_aside(to, json_object_get(facts, "left_aside"));
	print_whole(to, facts, "experts a layer", "experts");
	print_text(to, facts, "kind", "kind");
	print_text(to, facts, "layout", "layout");
	print_whole(to, facts, "d_model", "d_model");
	print_whole(to, facts, "d_hidden", "d_hidden");
	print_text(to, facts, "dtype in the file", "file_dtype");
	print_text(to, facts, "quantised as", "quantised");
	print_text(to, facts, "dtype in the bank", "dtype");
	print_text(to, facts, "activation", "activation");
	print_kinds(to, json_object_get(facts, "kinds"));
	print_size(to, facts, "an expert", "expert_bytes");
	print_size(to, facts, "a layer", "layer_bytes");
	print_size(to, facts, "the bank", "bank_bytes");
	print_router(to, json_object_get(facts, "router"),
	             json_integer_value(json_object_get(facts, "layers")));
	print_obstacles(to, facts);
}

/* A path or a preset, not both. */
static int find_facts(const info_config *config, const char *path, json_t **out)
{
	const preset *p = preset_at(config->preset);
	ufm_status status;
	if (!path && !p) {
		message_error("info", "found no path, expected FILE|DIR or --preset");
		return CLI_USAGE;
	}
	if (path && p) {
		message_error("info", "found '%.60s' beside --preset %s, expected one of them", path,
		              p->name);
		return CLI_USAGE;
	}
	if (p && config->prefix) {
		message_error("info", "--prefix: found with --preset, expected a checkpoint");
		return CLI_USAGE;
	}
	status = p ? info_preset(p, out)
	           : info_facts(path, config->prefix, OPTION_F16_AS(config->f16_as), out);
	return status ? message_status("info", status) : CLI_OK;
}

static int info_run(int argc, char *argv[])
{
	info_config config = {.format = INFO_MD};
	option_state state;
	json_t *facts;
	int exit_code;
	if (!command_read(&info_options, argc, argv, SIZE_MAX, &config, &state, &exit_code))
		return exit_code;
	exit_code = find_facts(&config, state.operand, &facts);
	if (exit_code)
		return exit_code;
	if (config.format == INFO_JSON) {
		(void)json_print(stdout, facts, JSON_INDENT(2));
	} else if (!json_memory_check()) {
		sheet to = sheet_open(stdout, config.wide);
		print_markdown(&to, facts);
	}
	json_decref(facts);
	return command_finish(&info_options, CLI_OK);
}

const command info_command = {.options = &info_options, .run = info_run};
