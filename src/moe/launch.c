/* SPDX-License-Identifier: MIT */
/* The experts of a call, launch by launch as scheduled, each cut into pieces that fit the workspace.
 * The demands of a launch are neighbours in the row table, so a piece is a range of it. */
#include <assert.h>

#include "moe/moe_int.h"

static ufm_status flush(forward *f)
{
	if (f->piece_rows == 0)
		return UFM_OK;
	uint32_t d_model = f->layer->desc->d_model;
	ufm_experts_args experts = {.desc = f->layer->desc,
	                            .entries = f->buffers->entries + f->entry_first,
	                            .entry_count = f->entry_next - f->entry_first,
	                            .x = f->ws->x,
	                            .math = engine_math(f->layer->engine),
	                            .hidden = f->ws->hidden,
	                            .y = f->ws->table + 4ull * f->piece_first * d_model};
	pager_work *work = pager_work_begin(f->layer->engine, TIMELINE_EXPERTS);
	ufm_status status = stage_gather(f, f->ws->row_token + 4ull * f->piece_first, 0, f->piece_rows);
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
	while (rows && status == UFM_OK) {
		uint32_t room = f->ws->piece_rows - f->piece_rows;
		uint32_t take = rows < room ? rows : room;
		assert(f->entry_next < f->buffers->entries_max);
		f->buffers->entries[f->entry_next++] =
			(ufm_expert_rows){.block = block, .row = f->piece_rows, .rows = take};
		f->piece_rows += take;
		rows -= take;
		if (f->piece_rows == f->ws->piece_rows)
			status = flush(f);
	}
	return status;
}

/* schedule_rows left one past the last row of each expert. */
uint32_t launch_row(const forward *f, const schedule_demand *demand)
{
	return f->buffers->counts[demand->expert] - demand->tokens;
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

launches launches_of(const forward *f)
{
	return (launches){.resident_end = f->plan.resident,
	                  .streamed = f->plan.resident,
	                  .streamed_end = f->demand_count};
}

bool launch_is_resident(const forward *f, const launches *at)
{
	const schedule_demand *demands = f->buffers->demands;
	if (at->resident == at->resident_end)
		return false;
	return at->streamed == at->streamed_end ||
	       demands[at->resident].launch < demands[at->streamed].launch;
}

/* All residents that start together. Those that copies wait for start one by one, so that the first copy
 * need not wait for all of them. */
ufm_status launch_residents(forward *f, launches *at)
{
	const schedule_demand *first = f->buffers->demands + at->resident;
	uint32_t n = 1, left = at->resident_end - at->resident;
	bool alone = first->launch == 0 && f->plan.streamed;
	while (!alone && n < left && first[n].launch == first->launch)
		n++;
	at->resident += n;
	return run_group(f, first, n);
}

ufm_status launch_streamed(forward *f, launches *at, uint32_t started)
{
	const schedule_demand *first = f->buffers->demands + at->streamed;
	uint32_t end = started < at->streamed_end ? started : at->streamed_end, n = 1;
	while (at->streamed + n < end && first[n].launch == first->launch)
		n++;
	at->streamed += n;
	return run_group(f, first, n);
}

/* The next copies begin before the launches that come first, as far as slots are free for them: a launch
 * takes the host longer than the start of a copy. Another source copies when it is asked. */
static ufm_status start_ahead(const forward *f, const launches *at, uint32_t *started)
{
	*started = *started > at->streamed ? *started : at->streamed;
	while (f->layer->paged && *started < at->streamed_end &&
	       *started - at->streamed < SCHEDULE_STARTS_AHEAD * f->together) {
		uint32_t left = at->streamed_end - *started, got;
		uint32_t n = left < f->together ? left : f->together;
		ufm_status status = pager_layer_start(f->layer->engine, f->layer->config.layer,
		                                      f->buffers->demands + *started, n, &got);
		*started += got;
		if (status != UFM_OK || got < n)
			return status;
	}
	return UFM_OK;
}

ufm_status launch_all(forward *f)
{
	launches at = launches_of(f);
	uint32_t started = at.streamed;
	ufm_status status = UFM_OK;
	while (status == UFM_OK && (at.resident < at.resident_end || at.streamed < at.streamed_end)) {
		status = start_ahead(f, &at, &started);
		if (status != UFM_OK)
			break;
		status = launch_is_resident(f, &at) ? launch_residents(f, &at)
		                                    : launch_streamed(f, &at, started);
	}
	return status;
}
