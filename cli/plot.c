/* SPDX-License-Identifier: MIT */
/* ufm plot: draws the figures of a results folder. */
#include "cli/plot.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/message.h"
#include "cli/plot/figures.h"
#include "cli/plot/gnuplot.h"
#include "cli/plot/replay.h"

static const figure *const figures[] = {&figure_throughput, &figure_memory, &figure_timeline};
#define FIGURE_COUNT (sizeof figures / sizeof figures[0])

static ufm_status write_figure(const figure *f, const plot_rows *rows, const char *folder)
{
	gnuplot_file o;
	ufm_status status = gnuplot_open(&o, folder, f->name, "dat");
	if (!status) {
		f->data(o.file, rows);
		status = gnuplot_close(&o);
	}
	if (!status)
		status = gnuplot_open(&o, folder, f->name, "gp");
	if (!status) {
		f->script(o.file, rows);
		status = gnuplot_close(&o);
	}
	return status;
}

/* The figures of ufm bench. */
static ufm_status plot_runs(const char *folder, bool *drawing)
{
	plot_rows rows;
	ufm_status status = plot_rows_read(folder, &rows);
	*drawing = !status;
	if (status)
		return status;
	for (size_t i = 0; !status && i < FIGURE_COUNT; i++)
		status = write_figure(figures[i], &rows, folder);
	plot_rows_free(&rows);
	for (size_t i = 0; !status && i < FIGURE_COUNT; i++)
		status = gnuplot_draw(folder, figures[i]->name);
	return status;
}

/* What may lie in a results folder. */
static const struct {
	const char *rows, *figures[FIGURE_COUNT];
	ufm_status (*draw)(const char *folder, bool *drawing);
} kinds[] = {
	{"runs.jsonl", {"throughput", "memory", "timeline"}, plot_runs},
	{"replay.jsonl", {"hit_rate"}, plot_replay},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static bool has_rows(const char *folder, size_t kind)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%.3900s/%s", folder, kinds[kind].rows);
	return access(path, F_OK) == 0;
}

/* Of a folder that holds folders by time. */
static ufm_status fail_without_rows(const char *folder)
{
	char latest[PATH_MAX] = "", hint[PATH_MAX + 32] = "";
	int error = errno;
	snprintf(latest, sizeof latest, "%.3900s/latest", folder);
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (has_rows(latest, i))
			snprintf(hint, sizeof hint, "; %s is one", latest);
	return status_fail(UFM_EFILE,
	                   "%s/runs.jsonl: cannot be opened: %s; expected a folder written by ufm "
	                   "bench or ufm replay%s",
	                   folder, strerror(error), hint);
}

ufm_status plot_folder(const char *folder, bool *drawing)
{
	ufm_status status = UFM_OK;
	bool any = false;
	*drawing = false;
	for (size_t i = 0; i < KIND_COUNT && !status; i++) {
		if (!has_rows(folder, i))
			continue;
		status = kinds[i].draw(folder, drawing);
		any = true;
	}
	return any ? status : fail_without_rows(folder);
}

static void print_figures(const char *folder)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		for (size_t j = 0; j < FIGURE_COUNT && kinds[i].figures[j] && has_rows(folder, i); j++)
			printf("%s/%s.png\n%s/%s.svg\n", folder, kinds[i].figures[j], folder,
			       kinds[i].figures[j]);
}

static const option_table plot_options = {
	.command = "plot",
	.summary = "Draws the figures of a results folder (default: results/latest) with gnuplot.",
	.operand = "[RESULTS_DIR]",
};

static void say_interrupted(void *ctx)
{
	const char *const *folder = ctx;
	interrupt_say("interrupted; figures in %s may be missing: ufm plot %s draws them", *folder,
	              *folder);
}

static int plot_run(int argc, char *argv[])
{
	option_state state;
	char nothing;
	int exit_code;
	const char *folder;
	ufm_status status;
	bool drawing;
	if (!command_read(&plot_options, argc, argv, SIZE_MAX, &nothing, &state, &exit_code))
		return exit_code;
	message_log(isatty(STDERR_FILENO) == 1);
	folder = state.operand ? state.operand : "results/latest";
	interrupt_set_keep(say_interrupted, &folder);
	status = plot_folder(folder, &drawing);
	exit_code = status ? message_status("plot", status) : CLI_OK;
	if (status)
		return drawing && status == UFM_EFILE ? CLI_FAILED : exit_code;
	print_figures(folder);
	return command_finish(&plot_options, CLI_OK);
}

const command plot_command = {.options = &plot_options, .run = plot_run};
