/* SPDX-License-Identifier: MIT */
/* Completion for zsh. */
#include <string.h>

#include "cli/completion/completion.h"

/* Text inside '…' and, in _arguments, inside […] or before a colon. */
static void quoted(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (strchr("[]:\\", *text))
			fputc('\\', to);
		if (*text == '\'')
			fputs("'\\'", to);
		fputc(*text, to);
	}
}

/* ":MESSAGE:ACTION" of _arguments. */
static void print_hint(FILE *to, const char *name, const completion_hint *hint)
{
	fputc(':', to);
	quoted(to, name);
	fputc(':', to);
	if (hint->files || hint->folders)
		fputs(hint->files ? "_files" : "_files -/", to);
	else {
		fputs(hint->list ? "_values -s , name " : "(", to);
		quoted(to, hint->words);
		fputs(hint->list ? "" : ")", to);
	}
}

static void print_option(FILE *to, const option_spec *spec)
{
	char brief[OPTION_TEXT_MAX];
	bool flag = spec->type == OPTION_FLAG;
	fputs(" \\\n\t\t\t", to);
	if (spec->letter)
		fprintf(to, "'(-%c --%s)'{-%c%s,--%s%s}'", spec->letter, spec->name, spec->letter,
		        flag ? "" : "+", spec->name, flag ? "" : "=");
	else
		fprintf(to, "'--%s%s", spec->name, flag ? "" : "=");
	fputc('[', to);
	quoted(to, completion_brief(spec->help, brief, sizeof brief));
	fputc(']', to);
	if (!flag) {
		completion_hint hint = completion_of_option(spec);
		print_hint(to, spec->value_name ? spec->value_name : spec->name, &hint);
	}
	fputc('\'', to);
}

static void print_command(FILE *to, const option_table *table)
{
	fprintf(to, "\t%s)\n\t\t_arguments '(- *)'{-h,--help}'[Prints the page of help]'",
	        table->command);
	for (uint32_t i = 0; i < table->count; i++)
		print_option(to, &table->specs[i]);
	if (table->operand) {
		completion_hint hint = completion_of_operand(table->operand);
		fputs(" \\\n\t\t\t'1", to);
		print_hint(to, table->operand, &hint);
		fputc('\'', to);
	}
	fputs("\n\t\t;;\n", to);
}

void completion_zsh(FILE *to)
{
	fputs("#compdef ufm\n# Completion of ufm in zsh. Made by: ufm completion zsh\n"
	      "_ufm()\n{\n\tlocal -a names\n\tnames=(",
	      to);
	for (uint32_t i = 0; i < command_count; i++) {
		char brief[OPTION_TEXT_MAX];
		fprintf(to, "\n\t\t'%s:", commands[i]->options->command);
		quoted(to, completion_brief(commands[i]->options->summary, brief, sizeof brief));
		fputc('\'', to);
	}
	fputs("\n\t\t'help:Prints the page of a command'\n\t)\n"
	      "\tif ((CURRENT == 2)); then\n"
	      "\t\t_describe command names\n"
	      "\t\t_arguments '--help[Prints the page of help]' '--version[Prints the version]'\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tshift words\n\t((CURRENT--))\n"
	      "\tcase $words[1] in\n"
	      "\thelp) _describe command names ;;\n",
	      to);
	for (uint32_t i = 0; i < command_count; i++)
		print_command(to, commands[i]->options);
	fputs("\tesac\n}\n"
	      "if [[ $funcstack[1] == _ufm ]]; then\n\t_ufm \"$@\"\nelse\n\tcompdef _ufm ufm\nfi\n",
	      to);
}
