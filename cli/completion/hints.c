/* SPDX-License-Identifier: MIT */
/* What can be offered, whatever the shell. */
#include <string.h>

#include "cli/completion/completion.h"

static void add_word(completion_hint *hint, const char *word, size_t length)
{
	size_t used = strlen(hint->words);
	if (used + length + 2 <= sizeof hint->words)
		snprintf(hint->words + used, sizeof hint->words - used, "%s%.*s", used ? " " : "",
		         (int)length, word);
}

static bool in_lower_case(const char *text, size_t length)
{
	return length && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") >= length;
}

/* "[FILE|DIR]", "N|off", "bash|zsh". */
static void read_name(completion_hint *hint, const char *name)
{
	hint->files = strstr(name, "FILE") || strchr(name, '.');
	hint->folders = strstr(name, "DIR") != NULL;
	for (const char *at = name; *at; at += *at != '\0') {
		size_t length = strcspn(at, "|[]");
		if (in_lower_case(at, length))
			add_word(hint, at, length);
		at += length;
	}
}

static void add_choices(completion_hint *hint, const char *choices)
{
	char name[64];
	for (uint32_t i = 0; *option_choice_name(choices, i, name, sizeof name); i++)
		add_word(hint, name, strlen(name));
}

completion_hint completion_of_option(const option_spec *spec)
{
	completion_hint hint = {.list = spec->type == OPTION_CHOICES};
	if (spec->choices) {
		add_choices(&hint, spec->choices);
		return hint;
	}
	if (spec->value_name)
		read_name(&hint, spec->value_name);
	if (spec->zero_word && !*hint.words) /* a name such as N|off has it already */
		add_word(&hint, spec->zero_word, strlen(spec->zero_word));
	if (spec->suggest)
		add_word(&hint, spec->suggest, strlen(spec->suggest));
	return hint;
}

completion_hint completion_of_operand(const char *operand)
{
	completion_hint hint = {.list = false};
	if (operand)
		read_name(&hint, operand);
	return hint;
}

char *completion_brief(const char *help, char *buffer, size_t size)
{
	const char *end = strstr(help, ". ");
	size_t length = end ? (size_t)(end - help) : strlen(help);
	if (length && help[length - 1] == '.')
		length--;
	snprintf(buffer, size, "%.*s", (int)length, help);
	return buffer;
}
