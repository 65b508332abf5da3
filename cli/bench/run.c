/* SPDX-License-Identifier: MIT */
/* Opens what a mode needs, warms up, measures, and closes in reverse order, but for the host tier. */
#include "cli/bench/run.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "cli/bench/model.h"
#include "cli/bench/warmup.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/message.h"
#include "cli/modes/filling.h"
#include "cli/modes/options.h"
#include "pager/pager.h"
#include "telemetry/sampler.h"

typedef struct run {
	const run_config *in;
	const bench_config *config;
	bench_row *row;
	warmup warmup;
	sampler *sampler;
	bank_shape info;
	ufm_engine *engine;
	naive *naive;
	model *model;
	float *y; /* [tokens, d_model] */
} run;

static void progress(const run *r, const char *what)
{
	message_progress("[%u/%u] %s, %u experts: %s", r->in->number, r->in->runs, r->row->label,
	                 r->row->experts, what);
}

/* What is left of the run when a signal ends the process in its next step. */
static void note_so_far(const run *r)
{
	interrupt_guard();
	*r->in->so_far = *r->row;
	interrupt_unguard();
}

static ufm_status open_bank(run *r)
{
	ufm_status status = tier_open_bank(r->in->tier, r->config, r->row->experts);
	if (status)
		return status;
	r->info = *bank_get_shape(r->in->tier->bank);
	r->row->bank_bytes = r->info.bank_bytes;
	r->row->expert_bytes = r->info.desc.expert_bytes;
	return UFM_OK;
}

static ufm_status open_host(run *r)
{
	filling bar;
	snprintf(bar.what, sizeof bar.what, "[%u/%u] %s, %u experts: filling the bank", r->in->number,
	         r->in->runs, mode_name(r->row->mode), r->row->experts);
	return tier_open_host(r->in->tier, r->config, r->in->backend, r->row->mode, &bar,
	                      &r->row->fill_ns);
}

static model_config describe_model(const run *r)
{
	return (model_config){.bank = r->info,
	                      .tokens = bench_tokens(r->config),
	                      .top_k = r->config->top_k,
	                      .norm_topk = r->config->norm_topk,
	                      .scoring = bench_scoring(r->config),
	                      .seed = r->config->seed,
	                      .checkpoint = r->config->model ? r->in->tier->bank : NULL,
	                      .routed_by_caller = workload_routes(r->in->load),
	                      .steers = workload_steers(r->in->load) ? r->in->load : NULL};
}

static ufm_status open_engine(run *r, const model_config *describe)
{
	const bench_config *c = r->config;
	bench_row *row = r->row;
	mode_budget budget = {c->vram_target_bytes, c->headroom_bytes};
	ufm_engine_config engine;
	ufm_status status;
	UFM_STRUCT_INIT(&engine);
	engine.vram_limit_bytes = c->vram_limit_bytes;
	engine.link_gbps = r->in->link_gbps;
	engine.compute_threads = c->threads;
	engine.policy = c->policy;
	engine.math = mode_math(c->math);
	engine.ring_slots = c->ring;
	engine.max_tokens = c->max_tokens;
	engine.call_tokens_max = bench_tokens(c);
	engine.top_k_max = c->top_k;
	engine.arena_bytes = model_arena_bytes(describe);
	engine.timeline_events = r->in->timeline ? MODE_TIMELINE_EVENTS : 0;
	engine.routing_bytes =
		mode_record_bytes(c->record_trace, ((uint64_t)r->warmup.steps + c->steps) * bench_tokens(c),
	                      r->info.layers, c->top_k);
	mode_ask_engine(row->mode, &r->info.desc, &budget, &engine);
	mode_ask_cpu(row->mode, c->cpu_assist, c->cpu_share, &engine);
	progress(r, "opening the device");
	status = ufm_engine_open(r->in->tier->host, &engine, &r->engine);
	if (status)
		return status;
	UFM_STRUCT_INIT(&row->engine);
	ufm_engine_get_info(r->engine, &row->engine);
	row->opened = true;
	snprintf(row->device, sizeof row->device, "%s", row->engine.device);
	row_note_cpu(row, r->engine);
	row->deterministic = mode_deterministic(&row->engine);
	note_so_far(r);
	return UFM_OK;
}

/* ---- telemetry */

static void probe(void *ctx, sampler_reading *reading)
{
	ufm_engine *engine = ctx;
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_engine_get_memory(engine, &memory);
	reading->live_bytes = memory.live_bytes;
	reading->held_bytes = memory.held_bytes;
	ufm_engine_get_counters(engine, reading->counters, COUNTER_COUNT);
}

/* After every step, outside of what is timed: a GPU's driver takes microseconds to answer, and what an
 * engine holds changes with its budget alone. */
static void note_memory(run *r)
{
	bench_row *row = r->row;
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_engine_get_memory(r->engine, &memory);
	if (memory.live_bytes > row->peak_live_bytes)
		row->peak_live_bytes = memory.live_bytes;
	if (memory.held_bytes > row->peak_held_bytes)
		row->peak_held_bytes = memory.held_bytes;
	row->slab_high_water_bytes = memory.slab_high_water_bytes;
	/* A step uses slots that are empty again at its end; all else stays once the layers are open. */
	uint64_t within_bytes =
		memory.slab_high_water_bytes + row->engine.workspace_bytes + row->engine.arena_bytes;
	if (r->model && within_bytes > row->peak_live_bytes)
		row->peak_live_bytes = within_bytes;
}

static void close_sampler(run *r, ufm_status *telemetry)
{
	sampler_peaks peaks = {0};
	bench_row *row = r->row;
	*telemetry = sampler_close(r->sampler, &peaks);
	if (peaks.live_bytes > row->peak_live_bytes)
		row->peak_live_bytes = peaks.live_bytes;
	if (peaks.held_bytes > row->peak_held_bytes)
		row->peak_held_bytes = peaks.held_bytes;
	row->peak_ram_bytes = peaks.process_rss_bytes;
}

/* ---- steps */

static bool is_ok(const run *r)
{
	return r->row->status == ROW_OK;
}

static ufm_status run_step(run *r, uint64_t step, model_check *check, uint64_t *spent_ns)
{
	workload_batch batch;
	uint64_t begin_ns;
	ufm_status status;
	workload_step(r->in->load, step, &batch);
	status = model_upload(r->model, &batch);
	if (status)
		return status;
	begin_ns = clock_now_ns();
	status = model_forward(r->model, &batch, check);
	*spent_ns = clock_now_ns() - begin_ns;
	note_memory(r);
	timeline_add(engine_timeline(r->engine), &(timeline_span){.kind = TIMELINE_STEP,
	                                                          .begin_ns = begin_ns,
	                                                          .end_ns = begin_ns + *spent_ns,
	                                                          .layer = (uint32_t)step,
	                                                          .expert = TIMELINE_NONE});
	return status ? status : model_download(r->model, r->y);
}

static bool stop_asked(run *r)
{
	if (!interrupt_seen())
		return false;
	row_interrupt(r->row, r->config);
	return true;
}

/* A step that does not count, in which the routers must choose what the workload says. */
static ufm_status check_step(run *r, uint64_t step)
{
	model_check check = {0};
	uint64_t spent_ns;
	ufm_status status = run_step(r, step, &check, &spent_ns);
	if (check.wrong)
		row_refuse(r->row, check.why);
	return status;
}

static void say_warming(const run *r)
{
	char how_far[64];
	if (r->warmup.until_filled)
		snprintf(how_far, sizeof how_far, "%u, %u of %u slots", r->row->warmed + 1,
		         r->row->slots_held, r->row->engine.slots);
	else
		snprintf(how_far, sizeof how_far, "%u/%u", r->row->warmed + 1, r->warmup.steps);
	message_progress("[%u/%u] %s, %u experts: warm-up %s", r->in->number, r->in->runs,
	                 r->row->label, r->row->experts, how_far);
}

static void note_filled(run *r)
{
	pager_filled now;
	pager_get_filled(r->engine, &now);
	r->row->slots_held = now.held;
	r->row->free_places = now.free_places;
}

static ufm_status warm_step(run *r, bool last)
{
	uint64_t step = (uint64_t)r->row->from + r->row->warmed, spent_ns;
	bool checked = workload_steers(r->in->load) && !last;
	say_warming(r);
	ufm_status status = checked ? check_step(r, step) : run_step(r, step, NULL, &spent_ns);
	r->row->warmed += status == UFM_OK;
	note_filled(r);
	return status;
}

static ufm_status warm_up(run *r)
{
	bench_row *row = r->row;
	ufm_status status = UFM_OK;
	uint64_t begin_ns = clock_now_ns();
	bool last = r->warmup.steps == 0;
	note_filled(r);
	while (!status && !last && is_ok(r) && !stop_asked(r)) {
		last =
			warmup_ends(&r->warmup, row->warmed, row->free_places == 0, clock_now_ns() - begin_ns);
		status = warm_step(r, last);
	}
	row->warm = !status && is_ok(r);
	row->workload_wrapped =
		row->warm &&
		workload_wraps(r->in->load, (uint64_t)row->from + row->warmed + r->config->steps);
	return status;
}

static void count_since(run *r, const uint64_t before[COUNTER_COUNT])
{
	uint64_t now[COUNTER_COUNT];
	ufm_engine_get_counters(r->engine, now, COUNTER_COUNT);
	for (uint32_t i = 0; i < COUNTER_COUNT; i++)
		r->row->counters[i] = now[i] - before[i];
}

static ufm_status measure(run *r)
{
	bench_row *row = r->row;
	uint64_t before[COUNTER_COUNT], spent_ns;
	ufm_engine_get_counters(r->engine, before, COUNTER_COUNT);
	row->output_hash = HASH_SEED;
	for (uint32_t i = 0; i < r->config->steps && !stop_asked(r); i++) {
		message_progress("[%u/%u] %s, %u experts: step %u/%u", r->in->number, r->in->runs,
		                 row->label, row->experts, i + 1, r->config->steps);
		ufm_status status = run_step(r, (uint64_t)row->from + row->warmed + i, NULL, &spent_ns);
		if (status)
			return status;
		row->step_ms[row->measured++] = (double)spent_ns / 1e6;
		row->output_hash =
			hash_bytes(row->output_hash, r->y,
		               (size_t)bench_tokens(r->config) * r->config->d_model * sizeof *r->y);
		count_since(r, before);
		note_so_far(r);
	}
	return UFM_OK;
}

/* ---- probes */

#define PROBE_NS 60000000u /* each */
#define PROBE_QUICK_NS 15000000u

/* After the warm-up, when the slots hold experts, and before the first count; and again after the last: the machine's
 * rates may have changed meanwhile, and the better ones bound what was measured. */
static ufm_status probe_rates_of(run *r)
{
	probe_rates rates;
	pager_probe_config config = {.block = r->naive ? naive_block(r->naive) : 0,
	                             .math = mode_math(r->config->math),
	                             .budget_ns = r->config->quick ? PROBE_QUICK_NS : PROBE_NS};
	if (!bench_probes(r->config) || stop_asked(r))
		return UFM_OK;
	progress(r, "probing");
	ufm_status status = pager_probe_all(r->engine, &config, &rates);
	if (status)
		return status;
	probe_keep_better(&r->row->rates, &rates);
	r->row->probed = true;
	return UFM_OK;
}

/* ---- all of it */

/* Part of the warm-up of ufm: a bank that fits is loaded ahead. Short steps touch a few experts each,
 * and warming up by them would take as long as chance needs to bring the last one. */
static ufm_status load_what_fits(run *r)
{
	uint64_t blocks = (uint64_t)r->info.layers * r->info.experts;
	if (r->row->mode != MODE_UFM || r->warmup.steps == 0 || r->row->engine.slots != blocks)
		return UFM_OK;
	return pager_load_all(r->engine, interrupt_stop, NULL);
}

static ufm_status open_model(run *r, const model_config *config)
{
	ufm_status status;
	progress(r, "placing the experts");
	status = mode_place(r->row->mode, r->engine, &r->naive);
	if (!status)
		status = load_what_fits(r);
	if (!status)
		status = model_open(r->engine, config, &r->model);
	if (!status && r->naive)
		model_set_source(r->model, naive_source(r->naive));
	return status;
}

static ufm_status run_all(run *r)
{
	model_config describe;
	ufm_status status = open_bank(r);
	if (!status)
		status = open_host(r);
	if (status)
		return status;
	describe = describe_model(r);
	status = open_engine(r, &describe);
	if (status)
		return status;
	sampler_attach(r->sampler, probe, r->engine);
	status = open_model(r, &describe);
	if (!status)
		status = warm_up(r);
	if (!status && is_ok(r))
		status = probe_rates_of(r);
	if (!status && is_ok(r))
		status = measure(r);
	if (!status)
		row_note_cpu(r->row, r->engine);
	if (!status && !r->row->interrupted)
		status = probe_rates_of(r);
	if (!status && !r->row->interrupted)
		status = row_find_limit(r->row, r->config, r->in->load);
	note_memory(r);
	return status;
}

static ufm_status draw_timeline(const run *r)
{
	char name[64];
	snprintf(name, sizeof name, "%s %u", mode_name(r->row->mode), r->row->experts);
	/* So that no signal leaves half of it. */
	interrupt_guard();
	ufm_status status = mode_timeline_add(r->in->timeline, r->engine, name);
	interrupt_unguard();
	return status;
}

/* In decode each token of a step is another sequence's. */
static ufm_status record_trace(const run *r)
{
	const bench_config *c = r->config;
	return mode_record_write(c->record_trace, r->engine, c->phase == PHASE_DECODE ? c->batch : 1);
}

/* Once more when everything is measured and written, since there may be no warm-up. */
static void check_last(run *r)
{
	const bench_config *c = r->config;
	ufm_status status = UFM_OK;
	if (workload_steers(r->in->load) && is_ok(r) && !interrupt_seen())
		status = check_step(r, (uint64_t)r->row->from + r->row->warmed + c->steps);
	if (status)
		row_fail(r->row, status);
}

static void close_all(run *r, ufm_status *telemetry)
{
	sampler_attach(r->sampler, NULL, NULL);
	model_close(r->model);
	naive_close(r->naive);
	ufm_engine_close(r->engine);
	close_sampler(r, telemetry);
	alloc_free(r->y);
}

ufm_status run_bench(const run_config *config, bench_row *row)
{
	run r = {.in = config,
	         .config = config->config,
	         .row = row,
	         .warmup = warmup_of(config->config, row->mode, config->begins)};
	sampler_config sampling = {.csv_path = config->telemetry_path};
	ufm_status telemetry = sampler_open(&sampling, &r.sampler), status, drawn, recorded;
	if (telemetry)
		return telemetry;
	snprintf(row->backend, sizeof row->backend, "%s", config->backend);
	if (config->peak)
		row->peak = *config->peak;
	row->from = r.warmup.from;
	row->experts_expected = workload_expected_experts(config->load, row->experts);
	note_so_far(&r);
	status = workload_for_experts(config->load, row->experts);
	r.y = alloc_zeroed((size_t)bench_tokens(r.config) * r.config->d_model, sizeof *r.y);
	if (!status)
		status = r.y ? run_all(&r) : UFM_ENOMEM;
	if (status == UFM_ECANCELED)
		row_interrupt(row, r.config);
	else if (status)
		row_fail(row, status);
	drawn = draw_timeline(&r);
	recorded = drawn ? drawn : record_trace(&r);
	check_last(&r);
	close_all(&r, &telemetry);
	row_check(row);
	message_progress_clear();
	return telemetry ? telemetry : recorded;
}
