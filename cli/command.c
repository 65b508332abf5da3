/* SPDX-License-Identifier: MIT */
/* What every command does at its start and end. */
#include "cli/command.h"

#include <errno.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/json_memory.h"
#include "cli/message.h"

static bool is_quick(const void *values, size_t quick)
{
	return quick != SIZE_MAX && *(const uint32_t *)((const char *)values + quick);
}

bool command_read(const option_table *table, int argc, char *argv[], size_t quick, void *values,
                  option_state *state, int *exit_code)
{
	ufm_status status = options_parse(table, argc, argv, values, state);
	if (!status && state->help) {
		options_help(stdout, table);
		*exit_code = command_finish(table, CLI_OK);
		return false;
	}
	if (!status)
		status = options_fill(table, is_quick(values, quick), values, state);
	if (status)
		*exit_code = message_status(table->command, status);
	return !status;
}

/* The first cause; 0: nothing was lost, or nobody knows why. */
static int lost_errno;

void command_printed(void)
{
	bool lost = ferror(stdout) != 0;
	int before = errno;
	errno = 0;
	if (fflush(stdout) != 0)
		before = errno;
	else if (!lost)
		return;
	lost_errno = lost_errno ? lost_errno : before;
}

int command_finish(const option_table *table, int exit_code)
{
	ufm_status status = json_memory_check();
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_code || !status ? exit_code : message_status(table->command, status);
	int error = lost_errno ? lost_errno : errno;
	message_error(table->command, "standard output: %s",
	              error ? strerror(error) : "cannot be written");
	return exit_code ? exit_code : CLI_FAILED;
}
