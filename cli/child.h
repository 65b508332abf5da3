/* SPDX-License-Identifier: MIT */
/* A program that a command runs: without standard input and terminal, with English messages and a
 * point in numbers, and with what it says on standard error kept apart from ours. */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <stddef.h>
#include <sys/types.h>

typedef struct child {
	pid_t pid;
	int said; /* a file in memory */
} child;

/* Starts argv[0], found by PATH, in the folder. An error number, or 0; ENOENT: there is no such
 * program. */
int child_start(child *c, const char *folder, char *const argv[]);

/* Waits for it and gives its exit code, or 128 and the number of the signal that ended it. A signal to this process is
 * told to the child. An error number, or 0. */
int child_wait(const child *c, int *exit_code);

/* The last line that it said on standard error, "" for none. */
char *child_said(const child *c, char *line, size_t size);

void child_close(child *c);

#endif
