/* SPDX-License-Identifier: MIT */
/* Completion for bash, alone or beside the package bash-completion. */
#include "cli/completion/completion.h"

/* `words`, `paths` (of compgen) and `list` are set by what stands before the cursor. */
static const char begin[] =
	"# Completion of ufm in bash. Made by: ufm completion bash\n"
	"_ufm()\n"
	"{\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal head='' words='' paths='' list='' word\n"
	"\tCOMPREPLY=()\n"
	"\t# --name=value is three words, or one where = does not break words.\n"
	"\tif [[ $current == = ]]; then\n"
	"\t\tcurrent=''\n"
	"\telif [[ $before == = ]]; then\n"
	"\t\tbefore=${COMP_WORDS[COMP_CWORD-2]}\n"
	"\telif [[ $current == --*=* ]]; then\n"
	"\t\tbefore=${current%%=*} head=${current%%=*}= current=${current#*=}\n"
	"\tfi\n"
	"\tif ((COMP_CWORD == 1)); then\n";

static const char end[] = "\tif [[ $list && $current == *,* ]]; then\n"
						  "\t\thead+=${current%,*}, current=${current##*,}\n"
						  "\tfi\n"
						  "\tfor word in $words; do\n"
						  "\t\t[[ $list && ,${head#*=} == *,$word,* ]] && continue\n"
						  "\t\t[[ $word == \"$current\"* ]] && COMPREPLY+=(\"$head$word\")\n"
						  "\tdone\n"
						  "\t[[ ${COMPREPLY[*]} == *: ]] && compopt -o nospace 2>/dev/null\n"
						  "\tif [[ $paths ]]; then\n"
						  "\t\tcompopt -o filenames 2>/dev/null\n"
						  "\t\twhile IFS= read -r word; do COMPREPLY+=(\"$head$word\"); done "
						  "< <(compgen $paths -- \"$current\")\n"
						  "\tfi\n"
						  "}\n"
						  "complete -F _ufm ufm\n";

static void print_hint(FILE *to, const completion_hint *hint)
{
	fprintf(to, "words='%s'", hint->words);
	if (hint->files || hint->folders)
		fprintf(to, " paths=%s", hint->files ? "-f" : "-d");
	if (hint->list)
		fprintf(to, " list=1");
}

static void print_value(FILE *to, const option_spec *spec)
{
	completion_hint hint = completion_of_option(spec);
	fprintf(to, "\t\t--%s", spec->name);
	if (spec->letter)
		fprintf(to, " | -%c", spec->letter);
	fputs(") ", to);
	print_hint(to, &hint);
	fputs(" ;;\n", to);
}

static void print_command(FILE *to, const option_table *table)
{
	completion_hint operand = completion_of_operand(table->operand);
	fprintf(to, "\t%s)\n\t\tcase $before in\n", table->command);
	for (uint32_t i = 0; i < table->count; i++)
		if (table->specs[i].type != OPTION_FLAG)
			print_value(to, &table->specs[i]);
	fputs("\t\t*)\n\t\t\tif [[ $current == -* ]]; then\n\t\t\t\twords='", to);
	for (uint32_t i = 0; i < table->count; i++)
		fprintf(to, "--%s ", table->specs[i].name);
	fputs("--help'\n\t\t\telse\n\t\t\t\t", to);
	print_hint(to, &operand);
	fputs("\n\t\t\tfi\n\t\t\t;;\n\t\tesac\n\t\t;;\n", to);
}

static void print_names(FILE *to)
{
	for (uint32_t i = 0; i < command_count; i++)
		fprintf(to, "%s%s", i ? " " : "", commands[i]->options->command);
}

void completion_bash(FILE *to)
{
	fputs(begin, to);
	fputs("\t\twords='", to);
	print_names(to);
	fputs(" help --help --version'\n\tfi\n\t((COMP_CWORD > 1)) && case ${COMP_WORDS[1]} "
	      "in\n\thelp) words='",
	      to);
	print_names(to);
	fputs("' ;;\n", to);
	for (uint32_t i = 0; i < command_count; i++)
		print_command(to, commands[i]->options);
	fputs("\tesac\n", to);
	fputs(end, to);
}
