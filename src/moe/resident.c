/* SPDX-License-Identifier: MIT */
/* A call of a layer whose experts are all on the device: nothing waits for the host. */
#include "moe/moe_int.h"

/* Whoever brings or wants the ids on return needs the host; so do experts of another source, and more rows than the device
 * groups. */
static bool needs_no_host(const forward *f)
{
	uint64_t rows = (uint64_t)f->call->tokens * f->layer->config.top_k;
	return !f->call->ids && !f->call->ids_out && f->layer->source.paged && rows <= UFM_GROUP_MAX;
}

static ufm_status route_and_group(forward *f, ufm_devptr blocks)
{
	uint32_t top_k = f->layer->config.top_k;
	ufm_group_args group = {.ids = f->ws->ids,
	                        .tokens = f->call->tokens,
	                        .top_k = top_k,
	                        .experts = f->layer->experts,
	                        .blocks = blocks,
	                        .row_of = f->ws->row_of,
	                        .row_token = f->ws->row_token,
	                        .entries = f->ws->entries,
	                        .ids_out = f->buffers->ids_view};
	counter_add(f->counters, COUNTER_d2h_activation_bytes, 4ull * f->call->tokens * top_k);
	return route_on_device(f, f->ws->ids, &group);
}

/* Rows of the table from `first` on that the workspace holds at once. Ids are distinct within a token, a router's as those
 * that were adopted, so no expert has more rows than there are tokens. */
static ufm_status compute_piece(forward *f, uint32_t first, uint32_t rows)
{
	uint32_t all = f->call->tokens * f->layer->config.top_k, experts = f->layer->experts;
	ufm_experts_args args = {.desc = f->layer->desc,
	                         .entry_count = all < experts ? all : experts,
	                         .x = f->ws->x,
	                         .hidden = f->ws->hidden,
	                         .y = f->ws->table + 4ull * first * f->layer->desc->d_model,
	                         .math = engine_math(f->layer->engine),
	                         .device_entries = f->ws->entries,
	                         .rows_max = f->call->tokens,
	                         .row_first = first,
	                         .row_count = rows < all ? rows : 0,
	                         .x_dtype = stage_rows_dtype(f)};
	pager_work *work = pager_work_begin(f->layer->engine, TIMELINE_EXPERTS);
	ufm_status status = stage_gather_rows(f, first, rows);
	if (status == UFM_OK)
		status = f->b->experts(f->stream, &args);
	span_end(f, work, args.entry_count, rows);
	return status;
}

static ufm_status compute(forward *f)
{
	uint32_t left = f->call->tokens * f->layer->config.top_k, most = stage_piece_rows(f);
	ufm_status status = UFM_OK;
	f->buffers->math = engine_math(f->layer->engine);
	f->buffers->top_k = f->layer->config.top_k;
	for (uint32_t first = 0; left && status == UFM_OK;) {
		uint32_t rows = left < most ? left : most;
		status = compute_piece(f, first, rows);
		first += rows;
		left -= rows;
	}
	return status;
}

static ufm_status enqueue(forward *f, ufm_devptr blocks)
{
	ufm_status status = stage_in(f);
	f->row_of.device = f->ws->row_of;
	f->row_token.device = f->ws->row_token;
	if (status == UFM_OK)
		status = route_and_group(f, blocks);
	if (status == UFM_OK)
		status = compute(f);
	return status == UFM_OK ? deliver(f) : status;
}

ufm_status resident_run(forward *f, ufm_stream *caller, bool *ran)
{
	ufm_engine *e = f->layer->engine;
	uint64_t assignments = (uint64_t)f->call->tokens * f->layer->config.top_k;
	uint32_t layer = f->layer->config.layer;
	ufm_devptr blocks = 0;
	*ran = false;
	if (!needs_no_host(f))
		return UFM_OK;
	ufm_status status = pager_resident_begin(e, layer, caller, &blocks);
	if (status != UFM_OK || !blocks)
		return status;
	*ran = true;
	f->stream = caller;
	pager_work *work = pager_work_begin(e, TIMELINE_LAYER);
	status = enqueue(f, blocks);
	span_end(f, work, 0, f->call->tokens);
	return pager_resident_end(e, layer, caller, f->buffers, assignments, status);
}
