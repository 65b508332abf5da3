/* SPDX-License-Identifier: MIT */
/* A command of `ufm`: its options and what runs it. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "cli/options.h"

typedef struct command {
	const option_table *options;
	int (*run)(int argc, char *argv[]); /* argv[0] is the command's name; returns an exit code */
} command;

extern const command bench_command, forward_command, plan_command, replay_command, plot_command,
	info_command, doctor_command, completion_command;

/* Every command, in the order of --help. Manual pages and shell completion follow from it. */
extern const command *const commands[];
extern const uint32_t command_count; /* at most COMMANDS_MAX */
#define COMMANDS_MAX 16
/* NULL: there is no such command. */
const command *command_find(const char *name);

/* Parses and fills defaults. true: go on; false: *exit_code says how to end (help, wrong usage).
 * quick: offset of the table's --quick flag in values, or SIZE_MAX. */
bool command_read(const option_table *table, int argc, char *argv[], size_t quick, void *values,
                  option_state *state, int *exit_code);

/* After a part of the output was printed: flushes it, and remembers why that failed, which
 * command_finish would not learn any more. The last call that failed must be the printing. */
void command_printed(void);

/* Flushes stdout; an error line and CLI_FAILED if anything was lost, else `exit_code`. */
int command_finish(const option_table *table, int exit_code);

#endif
