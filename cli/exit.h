/* SPDX-License-Identifier: MIT */
/* Exit codes of every command, and how a status becomes one. */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H

#include <ufm/ufm.h>

enum {
	CLI_OK = 0,
	CLI_FAILED = 1,      /* the work failed, or an output cannot be written */
	CLI_USAGE = 2,       /* an option is wrong, or asks for what cannot be */
	CLI_ENVIRONMENT = 3, /* this machine lacks memory, a device or a program */
	CLI_DATA = 4,        /* an input file is unreadable or malformed */
	CLI_INTERRUPTED = 130,
};

/* UFM_EFILE counts as an input file: who writes an output returns CLI_FAILED itself. */
int exit_of(ufm_status status);

/* The paragraph of --help. */
extern const char exit_help[];

#endif
