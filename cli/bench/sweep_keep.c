/* SPDX-License-Identifier: MIT */
/* What is kept of a sweep: each row as it ends, then summary and figures, or what a signal leaves. */
#include <stdio.h>

#include "cli/bench/report.h"
#include "cli/bench/sweep.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/json_put.h"
#include "cli/message.h"
#include "cli/modes/timeline.h"
#include "cli/plot.h"

bool sweep_output_lost(sweep *s, ufm_status status)
{
	if (!status)
		return false;
	message_status("bench", status);
	s->exit_code = sweep_first_of(s->exit_code, CLI_FAILED);
	interrupt_guard();
	results_close(s->results);
	s->results = NULL;
	interrupt_unguard();
	return true;
}

ufm_status sweep_add_row(sweep *s, const bench_row *row, json_t *json)
{
	s->so_far_phase = NULL;
	json_add(s->rows, json_incref(json));
	ufm_status status = s->results ? results_add(s->results, json) : UFM_OK;
	bool holds = row->measured > 0 || row->status == ROW_OOM;
	return !status && s->results && holds ? results_keep(s->results) : status;
}

static void say_kept(sweep *s)
{
	if (s->results && !results_are_ours(s->results)) {
		interrupt_say("interrupted before anything was measured; the rows in %s are as they were",
		              s->config.out);
		return;
	}
	interrupt_say("interrupted; %zu rows are kept%s%s", json_array_size(s->rows),
	              s->results ? " in " : "", s->results ? s->config.out : "");
}

/* Rows are what counts: without figures the command has still done its work. */
static void draw(sweep *s)
{
	ufm_status status;
	bool drawing;
	if (s->config.no_figures || !s->results || json_array_size(s->rows) == 0 || interrupt_seen())
		return;
	message_progress("drawing");
	status = plot_folder(s->config.out, &drawing);
	message_progress_clear();
	if (status == UFM_EUNSUPPORTED)
		message_note("bench", "no figures: %s", ufm_last_error());
	else if (interrupt_seen())
		s->exit_code = interrupt_end(); /* gnuplot had the signal too */
	else if (status) {
		message_status("bench", status);
		s->exit_code = sweep_first_of(s->exit_code, CLI_FAILED);
	}
}

/* With the guard. */
static ufm_status write_summary(sweep *s)
{
	s->finished = true;
	if (interrupt_seen()) {
		json_put(s->summary, "interrupted", json_true());
		say_kept(s);
		s->exit_code = CLI_INTERRUPTED;
	}
	if (!s->results)
		return UFM_OK;
	ufm_status status = interrupt_seen() ? UFM_OK : results_keep(s->results);
	if (status || !results_are_ours(s->results))
		return status;
	return report_keep(s->results, s->summary);
}

static void say_where(const sweep *s)
{
	const char *latest = s->results ? results_latest(s->results) : NULL;
	if (!s->results || s->config.format != ROWS_MD)
		return;
	printf("\nRows, table and figures: %s%s%s.\n", s->config.out, latest ? ", and as " : "",
	       latest ? latest : "");
}

static void print_end(const sweep *s)
{
	sheet to = sheet_open(stdout, s->config.wide);
	report_end(&to, (rows_format)s->config.format, s->summary);
}

void sweep_finish(sweep *s)
{
	interrupt_guard();
	ufm_status status = write_summary(s);
	interrupt_unguard();
	sweep_output_lost(s, status);
	print_end(s);
	say_where(s);
	command_printed();
	draw(s);
}

/* The run that is on has no row yet. */
static void keep_so_far(sweep *s)
{
	const sweep_phase *phase = s->so_far_phase;
	if (!phase)
		return;
	row_interrupt(&s->so_far, &phase->config);
	json_t *json = row_json(&s->so_far, &phase->config);
	if (sweep_add_row(s, &s->so_far, json) != UFM_OK)
		message_error("bench", "%s", ufm_last_error());
	if (ftrylockfile(stdout) == 0) {
		report_row(stdout, (rows_format)s->config.format, json);
		funlockfile(stdout);
	}
	json_decref(json);
}

/* With the guard: no row is being added. */
static ufm_status close_timeline(sweep *s)
{
	timeline_file *closed = s->timeline;
	s->timeline = NULL;
	return mode_timeline_close(closed);
}

/* Whoever is writing to standard output may wait there for
 * ever. */
void sweep_keep_all(void *ctx)
{
	sweep *s = ctx;
	if (s->finished) {
		say_kept(s);
		return;
	}
	keep_so_far(s);
	if (close_timeline(s) != UFM_OK)
		message_error("bench", "%s", ufm_last_error());
	if (write_summary(s) != UFM_OK)
		message_error("bench", "%s", ufm_last_error());
	results_close(s->results);
	s->results = NULL;
	if (ftrylockfile(stdout) != 0)
		return;
	print_end(s);
	fflush(stdout);
	funlockfile(stdout);
}

void sweep_finish_timeline(sweep *s)
{
	interrupt_guard();
	ufm_status status = close_timeline(s);
	interrupt_unguard();
	sweep_output_lost(s, status);
}
