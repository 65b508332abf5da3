/* SPDX-License-Identifier: MIT */
/* Arguments made of arbitrary bytes, one a line: parsing them never reads outside, and what it
 * accepts is what its text says when parsed again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/config.h"

enum { ARGUMENTS_MAX = 64, TEXT_BYTES = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* Cuts a copy of the input at newlines. */
static int cut(char *text, char *argv[ARGUMENTS_MAX + 1])
{
	static char name[] = "bench";
	int argc = 0;
	argv[argc++] = name;
	for (char *rest = text, *line; argc < ARGUMENTS_MAX && (line = strsep(&rest, "\n"));)
		argv[argc++] = line;
	argv[argc] = NULL;
	return argc;
}

/* Text of a value parses to a value with the same text. */
static void check_round_trip(const option_spec *spec, const bench_config *values)
{
	char first[TEXT_BYTES], second[TEXT_BYTES];
	bench_config again;
	memset(&again, 0, sizeof again);
	option_value_text(spec, values, first, sizeof first);
	/* Sizes are rounded for people, a flag has no value, and 0 may be out of range before it is
	 * filled. */
	if (spec->type == OPTION_SIZE || spec->type == OPTION_FLAG || spec->type == OPTION_NUMBER ||
	    spec->type == OPTION_STRING || strlen(first) >= sizeof first - 64)
		return;
	if (option_value_parse(spec, first, &again) != UFM_OK)
		abort();
	option_value_text(spec, &again, second, sizeof second);
	if (strcmp(first, second) != 0)
		abort();
}

static void check(const bench_config *config, const option_state *state)
{
	for (uint32_t i = 0; i < bench_options.count; i++) {
		if (!state->origins[i])
			abort();
		check_round_trip(&bench_options.specs[i], config);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char *argv[ARGUMENTS_MAX + 1], *text = malloc(size_bytes + 1);
	bench_config config;
	option_state state;
	if (!text)
		return 0;
	memcpy(text, data, size_bytes);
	text[size_bytes] = '\0';
	memset(&config, 0, sizeof config);
	if (options_parse(&bench_options, cut(text, argv), argv, &config, &state) == UFM_OK) {
		if (options_fill(&bench_options, config.quick, &config, &state) != UFM_OK)
			abort();
		check(&config, &state);
		if (bench_config_check(&config) == UFM_OK && config.top_k)
			(void)bench_config_resolve(&config, &state);
	}
	free(text);
	return 0;
}
