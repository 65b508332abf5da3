/* SPDX-License-Identifier: MIT */
/* ufm completion: prints the script that lets a shell complete commands, options and values. */
#include <string.h>

#include "cli/command.h"
#include "cli/completion/completion.h"
#include "cli/exit.h"
#include "cli/message.h"
#include "cli/nearest.h"

static const struct {
	const char *name;
	void (*print)(FILE *to);
} shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
#define SHELL_COUNT (sizeof shells / sizeof shells[0])

static const option_table completion_options = {
	.command = "completion",
	.summary = "Prints a script for completion in bash, zsh or fish.",
	.operand = "bash|zsh|fish",
};

static int wrong_shell(const char *found)
{
	if (found)
		message_error("completion", "found '%.60s', expected bash, zsh or fish%s", found,
		              nearest_name(found, "bash zsh fish").text);
	else
		message_error("completion", "found no shell, expected bash, zsh or fish");
	return CLI_USAGE;
}

static int completion_run(int argc, char *argv[])
{
	option_state state;
	char nothing;
	int exit_code;
	if (!command_read(&completion_options, argc, argv, SIZE_MAX, &nothing, &state, &exit_code))
		return exit_code;
	for (size_t i = 0; state.operand && i < SHELL_COUNT; i++)
		if (strcmp(shells[i].name, state.operand) == 0) {
			shells[i].print(stdout);
			return command_finish(&completion_options, CLI_OK);
		}
	return wrong_shell(state.operand);
}

const command completion_command = {.options = &completion_options, .run = completion_run};
