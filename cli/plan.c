/* SPDX-License-Identifier: MIT */
/* ufm plan: what a model gives within a budget, before it is run. */
#include <unistd.h>

#include "cli/command.h"
#include "cli/exit.h"
#include "cli/message.h"
#include "cli/plan/against.h"
#include "cli/plan/config.h"

static int plan_run(int argc, char *argv[])
{
	plan_config config = {.format = 0};
	option_state state;
	int exit_code;
	if (!command_read(&plan_options, argc, argv, SIZE_MAX, &config, &state, &exit_code))
		return exit_code;
	message_log(config.verbose || isatty(STDERR_FILENO) == 1);
	exit_code = against_run(&config, state.operands, state.operand_count);
	return command_finish(&plan_options, exit_code);
}

const command plan_command = {.options = &plan_options, .run = plan_run};
