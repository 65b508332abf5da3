/* SPDX-License-Identifier: MIT */
/* Completion for fish. */
#include <string.h>

#include "cli/completion/completion.h"

/* Text inside '…'. */
static void quoted(FILE *to, const char *text)
{
	fputc('\'', to);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', to);
		fputc(*text, to);
	}
	fputc('\'', to);
}

static void print_brief(FILE *to, const char *help)
{
	char brief[OPTION_TEXT_MAX];
	fputs(" -d ", to);
	quoted(to, completion_brief(help, brief, sizeof brief));
	fputc('\n', to);
}

static void print_hint(FILE *to, const completion_hint *hint)
{
	if (hint->files)
		fputs(" -F", to);
	else if (hint->folders)
		fputs(" -a '(__fish_complete_directories)'", to);
	if (*hint->words)
		fprintf(to, hint->list ? " -a '(__fish_append , %s)'" : " -a '%s'", hint->words);
}

static void print_option(FILE *to, const char *name, const option_spec *spec)
{
	fprintf(to, "complete -c ufm -n '__fish_seen_subcommand_from %s' -l %s", name, spec->name);
	if (spec->letter)
		fprintf(to, " -s %c", spec->letter);
	if (spec->type != OPTION_FLAG) {
		completion_hint hint = completion_of_option(spec);
		fputs(hint.files ? " -r" : " -x", to);
		print_hint(to, &hint);
	}
	print_brief(to, spec->help);
}

static void print_command(FILE *to, const option_table *table)
{
	completion_hint operand = completion_of_operand(table->operand);
	fprintf(to, "\ncomplete -c ufm -n __fish_use_subcommand -a %s", table->command);
	print_brief(to, table->summary);
	if (table->operand) {
		fprintf(to, "complete -c ufm -n '__fish_seen_subcommand_from %s'", table->command);
		print_hint(to, &operand);
		fputc('\n', to);
	}
	for (uint32_t i = 0; i < table->count; i++)
		print_option(to, table->command, &table->specs[i]);
}

void completion_fish(FILE *to)
{
	fputs("# Completion of ufm in fish. Made by: ufm completion fish\n"
	      "complete -c ufm -f\n"
	      "complete -c ufm -s h -l help -d 'Prints the page of help'\n"
	      "complete -c ufm -n __fish_use_subcommand -s V -l version -d 'Prints the version'\n"
	      "complete -c ufm -n __fish_use_subcommand -a help -d 'Prints the page of a command'\n"
	      "complete -c ufm -n '__fish_seen_subcommand_from help' -a '",
	      to);
	for (uint32_t i = 0; i < command_count; i++)
		fprintf(to, "%s%s", i ? " " : "", commands[i]->options->command);
	fputs("'\n", to);
	for (uint32_t i = 0; i < command_count; i++)
		print_command(to, commands[i]->options);
}
