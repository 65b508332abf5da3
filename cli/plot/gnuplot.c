/* SPDX-License-Identifier: MIT */
/* Files for gnuplot, and gnuplot itself. */
#include "cli/plot/gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"

static ufm_status cannot_write(const char *path)
{
	return status_fail(UFM_EBUSY, "%s: cannot write: %s", path,
	                   errno ? strerror(errno) : "no space is left");
}

ufm_status gnuplot_open(gnuplot_file *o, const char *folder, const char *name, const char *ending)
{
	snprintf(o->path, sizeof o->path, "%.3900s/%s.%s", folder, name, ending);
	errno = 0;
	o->file = fopen(o->path, "we");
	return o->file ? UFM_OK : cannot_write(o->path);
}

ufm_status gnuplot_close(gnuplot_file *o)
{
	bool lost = ferror(o->file) != 0;
	errno = 0;
	if (fclose(o->file) != 0 || lost)
		return cannot_write(o->path);
	return UFM_OK;
}

/* Runs `gnuplot NAME.gp` in the folder, with no settings of anybody's but the script's (-d). posix_spawn reports a
 * missing program at once. */
static int spawn_gnuplot(const char *folder, char *script, pid_t *child)
{
	char program[] = "gnuplot", defaults[] = "-d";
	char *argv[] = {program, defaults, script, NULL};
	posix_spawn_file_actions_t actions;
	int error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawn_file_actions_addchdir_np(&actions, folder);
	if (!error)
		error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
	if (!error)
		error = posix_spawnp(child, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

ufm_status gnuplot_draw(const char *folder, const char *name)
{
	char script[64];
	pid_t child;
	int error, how;
	snprintf(script, sizeof script, "%s.gp", name);
	error = spawn_gnuplot(folder, script, &child);
	if (error == ENOENT)
		return status_fail(UFM_EUNSUPPORTED,
		                   "gnuplot is missing; scripts and data are kept in %s: install gnuplot "
		                   "(package gnuplot-nox), then run: ufm plot %s",
		                   folder, folder);
	if (error)
		return status_fail(UFM_EBUSY, "gnuplot: cannot start: %s", strerror(error));
	while (waitpid(child, &how, 0) < 0)
		if (errno != EINTR)
			return status_fail(UFM_EBUSY, "gnuplot: %s", strerror(errno));
	if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
		return status_fail(UFM_EBUSY, "%s/%s: gnuplot failed on it", folder, script);
	return UFM_OK;
}
