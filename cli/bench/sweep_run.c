/* SPDX-License-Identifier: MIT */
/* The runs of a sweep, in the order in which a host tier is filled least often. */
#include "cli/bench/report.h"
#include "cli/bench/run.h"
#include "cli/bench/sweep.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/message.h"

static void say_failure(const bench_row *row)
{
	if (row->exit_code && !row->interrupted)
		message_error("bench", "%s, %u experts: %s", row->label, row->experts, row->error);
}

/* true: go on. */
static bool keep_row(sweep *s, const sweep_phase *phase, const bench_row *row)
{
	json_t *json = row_json(row, &phase->config);
	interrupt_guard();
	ufm_status status = sweep_add_row(s, row, json);
	interrupt_unguard();
	report_row(stdout, (rows_format)s->config.format, json);
	command_printed();
	json_decref(json);
	say_failure(row);
	s->exit_code = sweep_first_of(s->exit_code, row->exit_code);
	return !sweep_output_lost(s, status) && !interrupt_seen();
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
	if (!sweep_output_lost(s, run_row(&run, mode, experts, &row)))
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
void sweep_run(sweep *s)
{
	const bench_config *c = &s->config;
	bool on = true;
	for (uint32_t e = 0; e < c->experts.count && on; e++)
		on = run_experts(s, c->experts.items[e]);
	/* Who wants to stop does not wait for memory to be given back. */
	if (!interrupt_seen())
		tier_close(&s->tier);
}
