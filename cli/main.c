/* SPDX-License-Identifier: MIT */
/* ufm: finds the command that was asked for. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/json_memory.h"
#include "cli/message.h"
#include "cli/nearest.h"
#include "cli/sheet.h"
#include "cli/version.h"

static void print_help(void)
{
	sheet to = sheet_of_text(stdout);
	to.indent = 13;
	sheet_print(&to, "Usage: ufm COMMAND [options]\n\n"
	                 "Runs mixture-of-experts layers whose experts do not fit in device memory.\n\n"
	                 "Commands:\n");
	for (uint32_t i = 0; i < command_count; i++)
		sheet_print(&to, "  %-10s %s\n", commands[i]->options->command,
		            commands[i]->options->summary);
	to.indent = 20;
	sheet_print(&to,
	            "\n'ufm COMMAND --help' lists a command's options.\n\n"
	            "Options:\n"
	            "  -h, --help     Prints this page.\n"
	            "  -V, --version  Prints the version.\n\n%s\n"
	            "Environment:\n"
	            "  NO_COLOR          no colour, also on a terminal\n"
	            "  UFM_BACKEND_PATH  folders searched for libufm_NAME.so, separated by ':'\n"
	            "  UFM_CUBLAS        the file of cuBLAS that ufm bench times, and no other\n"
	            "  UFM_KERNELS       scalar, avx2, avx512 or amx: forces a table of CPU kernels\n",
	            exit_help);
}

static int unknown_command(const char *name)
{
	const char *names[COMMANDS_MAX], *near;
	for (uint32_t i = 0; i < command_count; i++)
		names[i] = commands[i]->options->command;
	near = nearest_word(name, names, command_count);
	if (near)
		message_error(NULL, "unknown command '%.60s'; did you mean '%s'?", name, near);
	else
		message_error(NULL, "unknown command '%.60s'; 'ufm --help' lists the commands", name);
	return CLI_USAGE;
}

static int finish(void)
{
	static const option_table none = {.command = NULL};
	return command_finish(&none, CLI_OK);
}

static int help_command(int argc, char *argv[])
{
	const command *found;
	if (argc < 3) {
		print_help();
		return finish();
	}
	if (argv[2][0] == '-') {
		print_help();
		return finish();
	}
	found = command_find(argv[2]);
	if (!found)
		return unknown_command(argv[2]);
	options_help(stdout, found->options);
	return finish();
}

/* A closed standard stream must not become the number of the next file that is opened. What is opened
 * instead refuses to be written, so that the loss is noticed. */
static void hold_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			_exit(CLI_FAILED);
	}
}

/* Outputs that cannot be written are errors with a line, not reasons to die without a word. */
static void ignore_output_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

static int run_command(const command *found, int argc, char *argv[])
{
	if (!interrupt_install(found->options->command)) {
		message_error(found->options->command, "cannot start a thread, expected room for one more");
		return CLI_ENVIRONMENT;
	}
	return found->run(argc, argv);
}

/* Where memory lacks for the buffer of its own, the C library drops what is printed and reports nothing. What fits the
 * buffer is written where somebody looks at the result, so that the cause of a failure is known. */
static void buffer_output(void)
{
	static char buffer[1 << 20];
	setvbuf(stdout, buffer, isatty(STDOUT_FILENO) == 1 ? _IOLBF : _IOFBF, sizeof buffer);
}

int main(int argc, char *argv[])
{
	const char *name = argc > 1 ? argv[1] : "";
	const command *found;
	hold_standard_streams();
	buffer_output();
	json_memory_watch();
	ignore_output_signals();
	if (argc < 2) {
		message_error(NULL, "found no command; 'ufm --help' lists the commands");
		return CLI_USAGE;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
		return help_command(argc, argv);
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		printf("ufm %s\n", version_text());
		return finish();
	}
	found = command_find(name);
	return found ? run_command(found, argc - 1, argv + 1) : unknown_command(name);
}
