/* SPDX-License-Identifier: MIT */
/* Shell completion, made from the option tables. */
#ifndef CLI_COMPLETION_COMPLETION_H
#define CLI_COMPLETION_COMPLETION_H

#include <stdio.h>

#include "cli/command.h"

/* What a shell may offer for a value or an operand. */
typedef struct completion_hint {
	bool files, folders; /* paths; folders alone where only those serve */
	bool list;           /* any number of the words, separated by commas */
	char words[256];     /* separated by spaces; "" for none */
} completion_hint;

/* Choices; else what the value's name asks for, the word for zero and the table's suggestions. */
completion_hint completion_of_option(const option_spec *spec);
/* NULL: no operand, nothing to offer. */
completion_hint completion_of_operand(const char *operand);

/* The first sentence of a help text, without its full stop. */
char *completion_brief(const char *help, char *buffer, size_t size);

void completion_bash(FILE *to);
void completion_zsh(FILE *to);
void completion_fish(FILE *to);

#endif
