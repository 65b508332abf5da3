/* SPDX-License-Identifier: MIT */
/* ufm plot: writes scripts and data, and has gnuplot draw them. */
#include "cli/plot.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/message.h"
#include "cli/plot_figures.h"

static const figure *const figures[] = {&figure_throughput, &figure_memory, &figure_timeline};
#define FIGURE_COUNT (sizeof figures / sizeof figures[0])

static ufm_status cannot_write(const char *path)
{
	return status_fail(UFM_EBUSY, "%s: cannot write: %s", path,
	                   errno ? strerror(errno) : "no space is left");
}

typedef struct output {
	char path[PATH_MAX];
	FILE *file;
} output;

static ufm_status output_open(output *o, const char *folder, const char *name, const char *ending)
{
	snprintf(o->path, sizeof o->path, "%.3900s/%s.%s", folder, name, ending);
	errno = 0;
	o->file = fopen(o->path, "we");
	return o->file ? UFM_OK : cannot_write(o->path);
}

static ufm_status output_close(output *o)
{
	bool lost = ferror(o->file) != 0;
	errno = 0;
	if (fclose(o->file) != 0 || lost)
		return cannot_write(o->path);
	return UFM_OK;
}

static ufm_status write_figure(const figure *f, const plot_rows *rows, const char *folder)
{
	output o;
	ufm_status status = output_open(&o, folder, f->name, "dat");
	if (!status) {
		f->data(o.file, rows);
		status = output_close(&o);
	}
	if (!status)
		status = output_open(&o, folder, f->name, "gp");
	if (!status) {
		f->script(o.file, rows);
		status = output_close(&o);
	}
	return status;
}

/* Runs `gnuplot NAME.gp` in the folder. posix_spawn reports a missing program at once. */
static int spawn_gnuplot(const char *folder, char *script, pid_t *child)
{
	char program[] = "gnuplot";
	char *argv[] = {program, script, NULL};
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

static ufm_status draw_figure(const figure *f, const char *folder)
{
	char script[64];
	pid_t child;
	int error, how;
	snprintf(script, sizeof script, "%s.gp", f->name);
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

ufm_status plot_folder(const char *folder)
{
	plot_rows rows;
	ufm_status status = plot_rows_read(folder, &rows);
	if (status)
		return status;
	for (size_t i = 0; !status && i < FIGURE_COUNT; i++)
		status = write_figure(figures[i], &rows, folder);
	for (size_t i = 0; !status && i < FIGURE_COUNT; i++)
		status = draw_figure(figures[i], folder);
	plot_rows_free(&rows);
	return status;
}

static const option_table plot_options = {
	.command = "plot",
	.summary = "Draws the figures of a results folder (default: results) with gnuplot.",
	.operand = "[RESULTS_DIR]",
};

static int plot_run(int argc, char *argv[])
{
	option_state state;
	char nothing;
	int exit_code;
	const char *folder;
	ufm_status status;
	if (!command_read(&plot_options, argc, argv, SIZE_MAX, &nothing, &state, &exit_code))
		return exit_code;
	message_log(isatty(STDERR_FILENO) == 1);
	folder = state.operand ? state.operand : "results";
	status = plot_folder(folder);
	if (status)
		return message_status("plot", status);
	for (size_t i = 0; i < FIGURE_COUNT; i++)
		printf("%s/%s.png\n%s/%s.svg\n", folder, figures[i]->name, folder, figures[i]->name);
	return command_finish(&plot_options, CLI_OK);
}

const command plot_command = {.options = &plot_options, .run = plot_run};
