/* SPDX-License-Identifier: MIT */
/* ufm bench: runs every mode with every number of experts in every phase and reports. */
#include <unistd.h>

#include "cli/bench/sweep.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/message.h"

static int bench_run(int argc, char *argv[])
{
	sweep s = {.exit_code = CLI_OK};
	int exit_code;
	if (!command_read(&bench_options, argc, argv, offsetof(bench_config, quick), &s.config,
	                  &s.state, &exit_code))
		return exit_code;
	bench_config_preset(&s.config, &s.state);
	message_log(s.config.verbose || isatty(STDERR_FILENO) == 1);
	exit_code = sweep_open(&s);
	if (exit_code == CLI_OK) {
		interrupt_set_keep(sweep_keep_all, &s);
		sweep_run(&s);
		sweep_finish_timeline(&s);
		sweep_finish(&s);
		exit_code = s.exit_code;
	}
	interrupt_set_keep(NULL, NULL);
	sweep_close(&s);
	return command_finish(&bench_options, exit_code);
}

const command bench_command = {.options = &bench_options, .run = bench_run};
