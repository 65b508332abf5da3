/* SPDX-License-Identifier: MIT */
/* The experts of a call on the device: the cursor's answers performed, each launch cut into pieces that fit
 * the workspace. The demands of a launch are neighbours in the row table, so a piece is a range of it. */
#include <assert.h>

#include "base/status.h"
#include "moe/moe_int.h"

static ufm_status flush(forward *f)
{
	if (f->piece_rows == 0)
		return UFM_OK;
	uint32_t d_model = f->layer->desc->d_model;
	ufm_experts_args experts = {.desc = f->layer->desc,
	                            .entries = f->buffers->entries + f->entry_first,
	                            .call_rows = f->buffers->entry_call_rows + f->entry_first,
	                            .entry_count = f->entry_next - f->entry_first,
	                            .x = f->ws->x,
	                            .x_dtype = stage_rows_dtype(f),
	                            .math = engine_math(f->layer->engine),
	                            .hidden = f->ws->hidden,
	                            .y = f->ws->table + 4ull * f->piece_first * d_model};
	pager_work *work = pager_work_begin(f->layer->engine, TIMELINE_EXPERTS);
	ufm_status status = stage_gather_rows(f, f->piece_first, f->piece_rows);
	if (status == UFM_OK)
		status = f->b->experts(f->stream, &experts);
	if (status == UFM_OK)
		counter_add(f->counters, counter_of_math(experts.math), f->piece_rows);
	span_end(f, work, experts.entry_count, f->piece_rows);
	f->piece_first += f->piece_rows;
	f->piece_rows = 0;
	f->entry_first = f->entry_next;
	return status;
}

/* Appends an expert's rows, which follow those collected so far. */
static ufm_status collect(forward *f, ufm_devptr block, uint32_t rows)
{
	ufm_status status = UFM_OK;
	uint32_t all = rows, most = stage_piece_rows(f);
	while (rows && status == UFM_OK) {
		uint32_t room = most - f->piece_rows;
		uint32_t take = rows < room ? rows : room;
		assert(f->entry_next < f->buffers->entries_max);
		f->buffers->entry_call_rows[f->entry_next] = all;
		f->buffers->entries[f->entry_next++] =
			(ufm_expert_rows){.block = block, .row = f->piece_rows, .rows = take};
		f->piece_rows += take;
		rows -= take;
		if (f->piece_rows == most)
			status = flush(f);
	}
	return status;
}

uint32_t launch_row(const forward *f, const schedule_demand *demand)
{
	return f->buffers->first_rows[demand->expert];
}

static ufm_status run_group(forward *f, const schedule_demand *demands, uint32_t n)
{
	const moe_source *source = &f->layer->source;
	uint32_t layer = f->layer->config.layer;
	ufm_status status = UFM_OK;
	f->piece_first = launch_row(f, demands);
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		ufm_devptr block = 0;
		status = source->take(source->self, layer, &demands[i], &block);
		if (status == UFM_OK)
			status = collect(f, block, demands[i].tokens);
		f->buffers->experts[i] = demands[i].expert;
	}
	if (status == UFM_OK)
		status = flush(f);
	return status == UFM_OK ? source->done(source->self, layer, f->buffers->experts, n) : status;
}

ufm_status launch_start(forward *f, launches *at, const launch_step *step)
{
	const moe_source *source = &f->layer->source;
	uint32_t got = 0;
	ufm_status status = source->start(source->self, f->layer->config.layer,
	                                  f->buffers->demands + step->first, step->n, &got);
	if (status == UFM_OK)
		launches_started(at, step, got);
	return status;
}

ufm_status launch_run(forward *f, launches *at, const launch_step *step)
{
	launches_launched(at, step);
	return run_group(f, f->buffers->demands + step->first, step->n);
}

ufm_status launch_stuck(const forward *f, const launches *at)
{
	return status_fail(UFM_EBUSY, "expert %u of layer %u: leases hold every slot",
	                   f->buffers->demands[at->started].expert,
	                   host_layer_number(engine_host(f->layer->engine), f->layer->config.layer));
}

ufm_status launch_all(forward *f)
{
	launches at = launches_of(f->buffers->demands, f->plan, f->together);
	for (;;) {
		launch_step next = launches_next(&at);
		ufm_status status;
		if (next.kind == LAUNCH_DONE)
			return UFM_OK;
		if (next.kind == LAUNCH_STUCK)
			return launch_stuck(f, &at);
		status =
			next.kind == LAUNCH_START ? launch_start(f, &at, &next) : launch_run(f, &at, &next);
		if (status != UFM_OK)
			return status;
	}
}
