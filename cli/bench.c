/* SPDX-License-Identifier: MIT */
/* ufm bench: runs every mode with every number of experts in every phase and reports. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/bench/config.h"
#include "cli/bench/report.h"
#include "cli/bench/results.h"
#include "cli/bench/room.h"
#include "cli/bench/run.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/json_put.h"
#include "cli/machine.h"
#include "cli/message.h"
#include "cli/modes/options.h"
#include "cli/options_json.h"
#include "cli/plot.h"
#include "device/registry.h"

typedef struct sweep_phase {
	bench_config config;
	workload *load;
	/* The step from which ufm measured with the number of experts that is on; 1: it has not. */
	uint32_t begins;
} sweep_phase;

typedef struct sweep {
	bench_config config;
	option_state state;
	sweep_phase phases[PHASE_COUNT]; /* [config.phases.count] */
	bench_tier tier;
	peak_found peak;
	uint32_t number;     /* of the run, from 1 */
	const char *backend; /* what --backend came to */
	timeline_file *timeline;
	/* What a signal keeps: changed with interrupt_guard. */
	results *results; /* NULL: none asked for */
	json_t *summary, *rows;
	bench_row so_far;                /* of the run that is on */
	const sweep_phase *so_far_phase; /* NULL: none is on */
	bool finished;                   /* the summary is written */
	int exit_code;
} sweep;

static int first_of(int exit_code, int next)
{
	return exit_code ? exit_code : next;
}

/* An emulated link is the cpu backend's; --quick means it for that backend alone. */
static ufm_status resolve_backend(sweep *s)
{
	const ufm_backend *backend;
	ufm_status status = mode_find_backend(s->config.backend, &backend);
	if (status)
		return status;
	s->backend = backend->name;
	if (backend == &cpu_backend || !(s->config.link_gbps > 0))
		return UFM_OK;
	if (option_is_by_hand(&bench_options, &s->state, "link-gbps"))
		return status_fail(UFM_EINVAL,
		                   "--link-gbps: found %g with the backend %s, expected off: its "
		                   "link is real",
		                   s->config.link_gbps, backend->name);
	s->config.link_gbps = 0;
	bench_config_origin(&s->state, "link-gbps", "the backend's link is real");
	return UFM_OK;
}

static ufm_status open_workload(sweep *s, sweep_phase *at, bench_phase phase)
{
	at->config = bench_config_for_phase(&s->config, phase);
	const bench_config *c = &at->config;
	workload_config load = {.spec = c->workload,
	                        .seed = c->seed,
	                        .d_model = c->d_model,
	                        .layers = c->layers,
	                        .tokens = bench_tokens(c),
	                        .sequences = phase == PHASE_DECODE ? c->batch : 0,
	                        .top_k = c->top_k,
	                        .experts_min = bench_experts_min(c),
	                        .ids_ahead = bench_ids_ahead(c)};
	ufm_status status = workload_open(&load, &at->load);
	if (!status && s->config.top_k == 0) {
		s->config.top_k = workload_top_k(at->load);
		bench_config_origin(&s->state, "top-k", workload_top_k_origin(at->load));
	}
	return status;
}

/* What is not known before the workloads are open is known after. */
static ufm_status resolve(sweep *s)
{
	const option_list *phases = &s->config.phases;
	ufm_status status = bench_config_check(&s->config);
	for (uint32_t i = 0; i < phases->count && !status; i++)
		status = open_workload(s, &s->phases[i], (bench_phase)phases->items[i]);
	if (!status)
		status = bench_config_resolve(&s->config, &s->state);
	if (!status)
		status = resolve_backend(s);
	for (uint32_t i = 0; i < phases->count && !status; i++)
		s->phases[i].config = bench_config_for_phase(&s->config, (bench_phase)phases->items[i]);
	return status;
}

static json_t *start_summary(const sweep *s)
{
	char now[32];
	time_t seconds = time(NULL);
	struct tm utc;
	json_t *summary = json_object();
	gmtime_r(&seconds, &utc);
	strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &utc);
	json_put(summary, "started", json_string(now));
	json_put(summary, "interrupted", json_false());
	json_put(summary, "environment", machine_json());
	json_put(summary, "config", options_json(&bench_options, &s->config, &s->state));
	json_put(summary, "rows", json_incref(s->rows));
	return summary;
}

/* Before the first engine: what it takes of a device is then none of a budget. */
static ufm_status ask_peak(sweep *s)
{
	const bench_config *c = &s->config;
	peak_config config = {.backend = s->backend,
	                      .threads = c->threads,
	                      .dtype = bench_dtype(c),
	                      .math = mode_math(c->math)};
	return bench_probes(c) ? peak_ask(&config, &s->peak) : UFM_OK;
}

/* Before anything is made. */
static ufm_status check_room(const sweep *s)
{
	char warning[ROOM_LINE_BYTES];
	limits here;
	limits_read(&here);
	ufm_status status = room_check(&s->config, &here, warning);
	if (!status && *warning)
		message_note("bench", "warning: %s", warning);
	return status;
}

static ufm_status open_results(sweep *s)
{
	ufm_status status = results_open(s->config.out, &s->results);
	if (status || s->config.out)
		return status;
	s->config.out = results_folder(s->results);
	bench_config_origin(&s->state, "out", "by the time");
	return UFM_OK;
}

/* CLI_OK, or why the sweep cannot begin. */
static int open_sweep(sweep *s)
{
	ufm_status status = bench_config_check_files(&s->config);
	if (!status)
		status = resolve(s);
	if (!status)
		status = check_room(s);
	if (status)
		return message_status("bench", status);
	if (mode_record_check(s->config.record_trace) != UFM_OK ||
	    mode_timeline_open(s->config.timeline, &s->timeline) != UFM_OK) {
		message_status("bench", UFM_EFILE);
		return CLI_FAILED;
	}
	if (!s->config.no_out && open_results(s) != UFM_OK) {
		message_status("bench", UFM_EFILE);
		return CLI_FAILED;
	}
	s->rows = json_array();
	s->summary = start_summary(s);
	status = ask_peak(s);
	return status ? message_status("bench", status) : CLI_OK;
}

static void close_sweep(sweep *s)
{
	json_decref(s->summary);
	json_decref(s->rows);
	results_close(s->results);
	tier_close(&s->tier);
	for (uint32_t i = 0; i < PHASE_COUNT; i++)
		workload_close(s->phases[i].load);
	(void)mode_timeline_close(s->timeline);
}

/* A result that cannot be written ends the sweep, said once. */
static bool output_lost(sweep *s, ufm_status status)
{
	if (!status)
		return false;
	message_status("bench", status);
	s->exit_code = first_of(s->exit_code, CLI_FAILED);
	interrupt_guard();
	results_close(s->results);
	s->results = NULL;
	interrupt_unguard();
	return true;
}

static void say_failure(const bench_row *row)
{
	if (row->exit_code && !row->interrupted)
		message_error("bench", "%s, %u experts: %s", row->label, row->experts, row->error);
}

/* With the guard. A row that was cut off before anything was measured takes the place of no earlier one. */
static ufm_status add_row(sweep *s, const bench_row *row, json_t *json)
{
	s->so_far_phase = NULL;
	json_add(s->rows, json_incref(json));
	ufm_status status = s->results ? results_add(s->results, json) : UFM_OK;
	bool holds = row->measured > 0 || row->status == ROW_OOM;
	return !status && s->results && holds ? results_keep(s->results) : status;
}

/* true: go on. */
static bool keep_row(sweep *s, const sweep_phase *phase, const bench_row *row)
{
	json_t *json = row_json(row, &phase->config);
	interrupt_guard();
	ufm_status status = add_row(s, row, json);
	interrupt_unguard();
	report_row(stdout, (rows_format)s->config.format, json);
	command_printed();
	json_decref(json);
	say_failure(row);
	s->exit_code = first_of(s->exit_code, row->exit_code);
	return !output_lost(s, status) && !interrupt_seen();
}

/* A row that beats its floor was probed on another machine than it ran on, so to say: measured again from the start,
 * with the same tokens, and no result if that helps nothing. */
static ufm_status run_row(const run_config *run, placement_mode mode, uint32_t experts,
                          bench_row *row)
{
	ufm_status status = run_bench(run, row);
	if (status || !row_beats_floor(row, run->config))
		return status;
	interrupt_guard();
	run->so_far->measured = 0;
	interrupt_unguard();
	row_close(row);
	status = row_open(row, run->config, mode, experts);
	if (!status)
		status = run_bench(run, row);
	row->measured_again = true;
	if (!status && row_beats_floor(row, run->config))
		row_fail_floor(row, run->config);
	return status;
}

/* Its steps are about to go. */
static void forget_so_far(sweep *s)
{
	interrupt_guard();
	s->so_far_phase = NULL;
	interrupt_unguard();
}

/* true: go on. */
static bool run_one(sweep *s, placement_mode mode, uint32_t experts, sweep_phase *phase)
{
	const bench_config *c = &s->config;
	run_config run = {.config = &phase->config,
	                  .load = phase->load,
	                  .tier = &s->tier,
	                  .backend = s->backend,
	                  .timeline = s->timeline,
	                  .link_gbps = c->link_gbps,
	                  .peak = bench_probes(c) ? &s->peak : NULL,
	                  .begins = phase->begins,
	                  .number = ++s->number,
	                  .runs = c->modes.count * c->experts.count * c->phases.count,
	                  .so_far = &s->so_far};
	bench_row row;
	ufm_status status;
	bool on = false;
	status = row_open(&row, &phase->config, mode, experts);
	if (status) {
		s->exit_code = message_status("bench", status);
		return false;
	}
	interrupt_guard();
	s->so_far = row;
	s->so_far_phase = phase;
	if (s->results)
		run.telemetry_path = results_telemetry_path(s->results, row.label, experts);
	interrupt_unguard();
	if (!output_lost(s, run_row(&run, mode, experts, &row)))
		on = keep_row(s, phase, &row);
	if (mode == MODE_UFM && row.warm)
		phase->begins = row.from + row.warmed;
	forget_so_far(s);
	row_close(&row);
	return on;
}

static bool run_phases(sweep *s, placement_mode mode, uint32_t experts)
{
	bool on = true;
	for (uint32_t p = 0; p < s->config.phases.count && on; p++)
		on = !interrupt_seen() && run_one(s, mode, experts, &s->phases[p]);
	return on;
}

/* The modes that want the same host tier, in the order asked for. */
static bool run_modes(sweep *s, uint32_t experts, bool pageable)
{
	const option_list *modes = &s->config.modes;
	bool on = true;
	for (uint32_t m = 0; m < modes->count && on; m++) {
		placement_mode mode = (placement_mode)modes->items[m];
		if (tier_pageable(mode) == pageable)
			on = run_phases(s, mode, experts);
	}
	return on;
}

static bool run_experts(sweep *s, uint32_t experts)
{
	bool first = tier_pageable((placement_mode)s->config.modes.items[0]);
	for (uint32_t p = 0; p < s->config.phases.count; p++)
		s->phases[p].begins = 1;
	return run_modes(s, experts, first) && run_modes(s, experts, !first);
}

/* Runs that share a bank and its host tier follow each other: filling it is what takes longest. */
static void run_sweep(sweep *s)
{
	const bench_config *c = &s->config;
	bool on = true;
	for (uint32_t e = 0; e < c->experts.count && on; e++)
		on = run_experts(s, c->experts.items[e]);
	/* Who wants to stop does not wait for memory to be given back. */
	if (!interrupt_seen())
		tier_close(&s->tier);
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
		s->exit_code = first_of(s->exit_code, CLI_FAILED);
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

static void finish_sweep(sweep *s)
{
	interrupt_guard();
	ufm_status status = write_summary(s);
	interrupt_unguard();
	output_lost(s, status);
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
	if (add_row(s, &s->so_far, json) != UFM_OK)
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

/* On the thread that ends the process. Whoever is writing to standard output may wait there for
 * ever. */
static void keep_all(void *ctx)
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

/* After the last row: the file may have been on a disk that is full. */
static void finish_timeline(sweep *s)
{
	interrupt_guard();
	ufm_status status = close_timeline(s);
	interrupt_unguard();
	output_lost(s, status);
}

static int bench_run(int argc, char *argv[])
{
	sweep s = {.exit_code = CLI_OK};
	int exit_code;
	if (!command_read(&bench_options, argc, argv, offsetof(bench_config, quick), &s.config,
	                  &s.state, &exit_code))
		return exit_code;
	bench_config_preset(&s.config, &s.state);
	message_log(s.config.verbose || isatty(STDERR_FILENO) == 1);
	exit_code = open_sweep(&s);
	if (exit_code == CLI_OK) {
		interrupt_set_keep(keep_all, &s);
		run_sweep(&s);
		finish_timeline(&s);
		finish_sweep(&s);
		exit_code = s.exit_code;
	}
	interrupt_set_keep(NULL, NULL);
	close_sweep(&s);
	return command_finish(&bench_options, exit_code);
}

const command bench_command = {.options = &bench_options, .run = bench_run};
