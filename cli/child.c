/* SPDX-License-Identifier: MIT */
/* Starts a program with an environment of its own and waits for it without missing a signal. */
#include "cli/child.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/interrupt.h"

#define POLL_NS 5000000l
#define SAID_BYTES 1024

static char *const settings[] = {(char[]){"TERM=dumb"}, (char[]){"LC_ALL=C.UTF-8"}};
#define SETTING_COUNT (sizeof settings / sizeof settings[0])

/* A terminal of gnuplot that is not there is an error before its script names another. */
static bool is_unwanted(const char *entry)
{
	if (strncmp(entry, "GNUTERM=", 8) == 0)
		return true;
	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (strncmp(entry, settings[i], strcspn(settings[i], "=") + 1) == 0)
			return true;
	return false;
}

/* Freed with alloc_free; NULL: no memory. */
static char **make_environment(void)
{
	size_t count = 0, kept = 0;
	while (environ && environ[count])
		count++;
	char **made = alloc_zeroed(count + SETTING_COUNT + 1, sizeof *made);
	if (!made)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (!is_unwanted(environ[i]))
			made[kept++] = environ[i];
	memcpy(made + kept, settings, sizeof settings);
	return made;
}

static int spawn(child *c, const char *folder, char *const argv[], char **environment)
{
	posix_spawn_file_actions_t actions;
	int error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawn_file_actions_addchdir_np(&actions, folder);
	if (!error)
		error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(&actions, c->said, STDERR_FILENO);
	if (!error)
		error = posix_spawnp(&c->pid, argv[0], &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

int child_start(child *c, const char *folder, char *const argv[])
{
	char **environment = make_environment();
	int error = ENOMEM;
	c->said = -1;
	if (!environment)
		return error;
	c->said = memfd_create("said", MFD_CLOEXEC);
	error = c->said < 0 ? errno : spawn(c, folder, argv, environment);
	alloc_free(environment);
	if (error)
		child_close(c);
	return error;
}

/* A terminal has sent its signal to the child, too; anybody else may not have. */
int child_wait(const child *c, int *exit_code)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	bool told = false;
	int how = 0;
	for (;;) {
		pid_t ended = waitpid(c->pid, &how, WNOHANG);
		if (ended < 0 && errno != EINTR)
			return errno;
		if (ended == c->pid)
			break;
		if (interrupt_seen() && !told)
			told = kill(c->pid, SIGTERM) == 0;
		nanosleep(&pause, NULL);
	}
	*exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
	return 0;
}

char *child_said(const child *c, char *line, size_t size)
{
	char text[SAID_BYTES + 1];
	off_t end = lseek(c->said, 0, SEEK_END);
	ssize_t length = pread(c->said, text, SAID_BYTES, end > SAID_BYTES ? end - SAID_BYTES : 0);
	while (length > 0 && strchr(" \t\r\n", text[length - 1]))
		length--;
	text[length > 0 ? length : 0] = '\0';
	const char *begin = strrchr(text, '\n');
	snprintf(line, size, "%s", begin ? begin + 1 : text);
	return line;
}

void child_close(child *c)
{
	if (c->said >= 0)
		close(c->said);
	c->said = -1;
}
