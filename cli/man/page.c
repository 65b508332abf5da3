/* SPDX-License-Identifier: MIT */
/* Words of a template, and the option tables in the macros of man(7). */
#include "cli/man/page.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/exit.h"

/* Plain text: '-' as on the keyboard, no macro at the start of a line. */
static void put_text(FILE *to, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", to);
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", to);
		else if (*text == '\\')
			fputs("\\e", to);
		else
			fputc(*text, to);
	}
}

static void put_version(FILE *to, const option_table *table)
{
	(void)table;
	fputs(ufm_version(), to);
}

static void put_commands(FILE *to, const option_table *table)
{
	(void)table;
	for (uint32_t i = 0; i < command_count; i++) {
		fprintf(to, "%s.TP\n.BR ufm\\-%s (1)\n", i ? "\n" : "", commands[i]->options->command);
		put_text(to, commands[i]->options->summary);
	}
}

/* Out of the paragraph of --help: a heading, then "  CODE  words" a line. */
static void put_exit_status(FILE *to, const option_table *table)
{
	const char *line = strchr(exit_help, '\n') + 1, *next;
	(void)table;
	for (; (next = strchr(line, '\n')); line = next + 1) {
		char text[128];
		size_t code;
		line += strspn(line, " ");
		snprintf(text, sizeof text, "%.*s", (int)(next - line), line);
		code = strcspn(text, " ");
		fprintf(to, ".TP\n.B %.*s\n", (int)code, text);
		put_text(to, text + code + strspn(text + code, " "));
		fputs(next[1] ? "\n" : "", to);
	}
}

static void put_page(FILE *to, const option_table *table)
{
	fprintf(to, "ufm\\-%s", table->command);
}

static void put_title(FILE *to, const option_table *table)
{
	fputs("UFM\\-", to);
	for (const char *at = table->command; *at; at++)
		fputc(toupper((unsigned char)*at), to);
}

static void put_summary(FILE *to, const option_table *table)
{
	put_text(to, table->summary);
}

static void put_synopsis(FILE *to, const option_table *table)
{
	fprintf(to, ".B ufm %s\n.RI [ options ]", table->command);
	if (table->operand) {
		fputs("\n.I ", to);
		put_text(to, table->operand);
	}
}

static void put_option(FILE *to, const option_spec *spec)
{
	char text[OPTION_TEXT_MAX];
	fputs(".TP\n", to);
	if (spec->letter)
		fprintf(to, "\\fB\\-%c\\fR, ", spec->letter);
	fputs("\\fB\\-\\-", to);
	put_text(to, spec->name);
	fputs("\\fR", to);
	if (spec->type != OPTION_FLAG && spec->value_name) {
		fputs(" \\fI", to);
		put_text(to, spec->value_name);
		fputs("\\fR", to);
	}
	fputc('\n', to);
	put_text(to, option_describe(spec, text, sizeof text));
	fputc('\n', to);
}

static void put_options(FILE *to, const option_table *table)
{
	fputs(".nh\n", to); /* a value must not be hyphenated */
	for (uint32_t i = 0; i < table->count; i++)
		put_option(to, &table->specs[i]);
	fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nPrints a page of help.\n.hy", to);
}

static const struct {
	const char *word;
	bool needs_command;
	void (*put)(FILE *to, const option_table *table);
} parts[] = {
	{"VERSION", false, put_version},
	{"COMMANDS", false, put_commands},
	{"EXIT_STATUS", false, put_exit_status},
	{"PAGE", true, put_page},
	{"TITLE", true, put_title},
	{"SUMMARY", true, put_summary},
	{"SYNOPSIS", true, put_synopsis},
	{"OPTIONS", true, put_options},
};

static bool put_part(FILE *to, const option_table *table, const char *word)
{
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (strcmp(parts[i].word, word) == 0 && (table || !parts[i].needs_command)) {
			parts[i].put(to, table);
			return true;
		}
	return false;
}

/* Length of the WORD in "@WORD@…"; 0: this '@' is a plain one. */
static size_t word_length(const char *at)
{
	size_t length = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
	return at[length + 1] == '@' ? length : 0;
}

static bool put_line(FILE *to, const char *line, const option_table *table, char word[32])
{
	while (*line) {
		size_t plain = strcspn(line, "@"), length;
		fprintf(to, "%.*s", (int)plain, line);
		line += plain;
		if (*line == '\0')
			break;
		length = word_length(line);
		if (length == 0) {
			fputc(*line++, to);
			continue;
		}
		snprintf(word, 32, "%.*s", (int)length, line + 1);
		if (!put_part(to, table, word))
			return false;
		line += length + 2;
	}
	return true;
}

bool page_write(FILE *to, FILE *from, const option_table *table, char word[32])
{
	char *line = NULL;
	size_t size = 0;
	bool known = true;
	while (known && getline(&line, &size, from) != -1)
		known = put_line(to, line, table, word);
	free(line);
	return known;
}
