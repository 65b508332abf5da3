/* SPDX-License-Identifier: MIT */
/* What a sweep needs before its first run: options that are settled by workloads and backend, room, and outputs. */
#include <time.h>

#include "base/limits.h"
#include "base/status.h"
#include "cli/bench/checkpoint.h"
#include "cli/bench/room.h"
#include "cli/bench/sweep.h"
#include "cli/exit.h"
#include "cli/json_put.h"
#include "cli/machine.h"
#include "cli/message.h"
#include "cli/modes/record.h"
#include "cli/modes/timeline.h"
#include "cli/options_json.h"
#include "cli/weights.h"
#include "device/registry.h"

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
	                      .dtype = weights_dtype(c->dtype),
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

int sweep_open(sweep *s)
{
	ufm_status status = bench_config_check_files(&s->config);
	if (!status && s->config.model)
		status = bench_checkpoint(&s->config, &s->state, &s->tier.bank);
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

void sweep_close(sweep *s)
{
	json_decref(s->summary);
	json_decref(s->rows);
	results_close(s->results);
	tier_close(&s->tier);
	for (uint32_t i = 0; i < PHASE_COUNT; i++)
		workload_close(s->phases[i].load);
	(void)mode_timeline_close(s->timeline);
}
