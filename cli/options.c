/* SPDX-License-Identifier: MIT */
/* Walks the arguments and finds the options they name. */
#include "cli/options.h"

#include <assert.h>
#include <string.h>

#include "base/status.h"
#include "cli/nearest.h"

#define BY_HAND "command line"

uint32_t options_find(const option_table *table, const char *name)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (strcmp(table->specs[i].name, name) == 0)
			return i;
	return OPTIONS_MAX;
}

bool option_is_by_hand(const option_table *table, const option_state *state, const char *name)
{
	uint32_t index = options_find(table, name);
	assert(index < OPTIONS_MAX);
	return state->origins[index] && strcmp(state->origins[index], BY_HAND) == 0;
}

static const option_spec *find_letter(const option_table *table, char letter)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (table->specs[i].letter == letter)
			return &table->specs[i];
	return NULL;
}

static const option_spec *find_long(const option_table *table, const char *name, size_t length)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const option_spec *spec = &table->specs[i];
		if (strlen(spec->name) == length && memcmp(spec->name, name, length) == 0)
			return spec;
	}
	return NULL;
}

static ufm_status unknown_option(const option_table *table, const char *argument)
{
	const char *names[OPTIONS_MAX], *name = argument + strspn(argument, "-"), *near;
	char bare[64];
	size_t length = strcspn(name, "=");
	for (uint32_t i = 0; i < table->count; i++)
		names[i] = table->specs[i].name;
	if (length >= sizeof bare)
		length = sizeof bare - 1;
	memcpy(bare, name, length);
	bare[length] = '\0';
	near = nearest_word(bare, names, table->count);
	if (near)
		return status_fail(UFM_EINVAL, "unknown option '%.60s'; did you mean '--%s'?", argument,
		                   near);
	return status_fail(UFM_EINVAL, "unknown option '%.60s'; 'ufm %s --help' lists the options",
	                   argument, table->command);
}

/* One step over argv: the option at *index and its value. */
typedef struct option_match {
	const option_spec *spec;
	const char *value; /* NULL: not in the same argument */
	const char *typed; /* the argument, of which the first typed_bytes are the option */
	int typed_bytes;
} option_match;

static ufm_status match_argument(const option_table *table, const char *argument, option_match *out)
{
	if (argument[1] == '-') {
		const char *name = argument + 2;
		size_t length = strcspn(name, "=");
		out->spec = find_long(table, name, length);
		out->value = name[length] == '=' ? name + length + 1 : NULL;
		out->typed_bytes = (int)length + 2;
	} else {
		out->spec = find_letter(table, argument[1]);
		out->value = argument[2] ? argument + 2 : NULL;
		out->typed_bytes = 2;
	}
	out->typed = argument;
	return out->spec ? UFM_OK : unknown_option(table, argument);
}

static ufm_status set_option(const option_match *match, void *values)
{
	const option_spec *spec = match->spec;
	if (spec->type != OPTION_FLAG)
		return option_value_parse(spec, match->value, values);
	if (match->value)
		return status_fail(UFM_EINVAL, "found the value '%.60s', expected none", match->value);
	*(uint32_t *)((char *)values + spec->offset) = 1;
	return UFM_OK;
}

static ufm_status take_operand(const option_table *table, const char *argument, option_state *state)
{
	if (!table->operand)
		return status_fail(UFM_EINVAL, "found '%.60s', expected only options", argument);
	if (state->operand_count == (table->operands_max ? table->operands_max : 1))
		return status_fail(UFM_EINVAL, "found '%.60s' after '%.60s', expected %s %s", argument,
		                   state->operands[state->operand_count - 1],
		                   table->operands_max ? "no more" : "one", table->operand);
	state->operands[state->operand_count++] = argument;
	state->operand = state->operands[0];
	return UFM_OK;
}

static bool wants_help(const char *argument)
{
	return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

/* Reads the option at argv[*index] and moves *index to the last argument it used. */
static ufm_status take_option(const option_table *table, int argc, char *const argv[], int *index,
                              void *values, option_state *state)
{
	option_match match;
	ufm_status status = match_argument(table, argv[*index], &match);
	if (status)
		return status;
	if (match.spec->type != OPTION_FLAG && !match.value) {
		if (*index + 1 >= argc)
			return status_fail(UFM_EINVAL, "%.*s: found nothing after it, expected %s",
			                   match.typed_bytes, match.typed, match.spec->value_name);
		match.value = argv[++*index];
	}
	status = set_option(&match, values);
	if (status)
		return status_prefix(status, "%.*s", match.typed_bytes, match.typed);
	state->origins[match.spec - table->specs] = BY_HAND;
	return UFM_OK;
}

ufm_status options_parse(const option_table *table, int argc, char *const argv[], void *values,
                         option_state *state)
{
	bool only_operands = false;
	assert(table->count <= OPTIONS_MAX && table->operands_max <= OPERANDS_MAX);
	memset(state, 0, sizeof *state);
	for (int i = 1; i < argc; i++) {
		ufm_status status = UFM_OK;
		if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0')
			status = take_operand(table, argv[i], state);
		else if (strcmp(argv[i], "--") == 0)
			only_operands = true;
		else if (wants_help(argv[i]))
			state->help = true;
		else
			status = take_option(table, argc, argv, &i, values, state);
		if (status)
			return status;
	}
	return UFM_OK;
}

ufm_status options_fill(const option_table *table, bool quick, void *values, option_state *state)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const option_spec *spec = &table->specs[i];
		const char *text = quick && spec->quick ? spec->quick : spec->fallback;
		if (state->origins[i])
			continue;
		if (spec->required)
			return status_fail(UFM_EINVAL, "--%s: found nothing, expected %s", spec->name,
			                   spec->value_name);
		state->origins[i] = quick && spec->quick ? "quick" : "default";
		if (text) {
			ufm_status status = option_value_parse(spec, text, values);
			if (status)
				return status_prefix(status, "--%s", spec->name);
		}
	}
	return UFM_OK;
}
