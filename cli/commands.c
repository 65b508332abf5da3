/* SPDX-License-Identifier: MIT */
/* The commands of `ufm`. */
#include <assert.h>
#include <string.h>

#include "cli/command.h"

const command *const commands[] = {&bench_command,  &forward_command,   &plan_command,
                                   &replay_command, &plot_command,      &info_command,
                                   &doctor_command, &completion_command};
const uint32_t command_count = sizeof commands / sizeof commands[0];
static_assert(sizeof commands / sizeof commands[0] <= COMMANDS_MAX, "COMMANDS_MAX holds them all");

const command *command_find(const char *name)
{
	for (uint32_t i = 0; i < command_count; i++)
		if (strcmp(commands[i]->options->command, name) == 0)
			return commands[i];
	return NULL;
}
