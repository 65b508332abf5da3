/* SPDX-License-Identifier: MIT */
/* The buffers of calls. */
#include "pager/calls.h"

#include "base/alloc.h"
#include "base/size.h"
#include "budget/budget.h"

static uint8_t *carve(uint8_t **at, uint64_t size_bytes)
{
	uint8_t *here = *at;
	*at += size_round_up(size_bytes, BUDGET_ALIGN);
	return here;
}

/* An expert has one entry, and one more for every piece boundary that cuts it. */
static uint32_t entries_for(const calls *c, uint64_t assignments, uint32_t piece_rows)
{
	return c->experts + (uint32_t)(assignments / piece_rows) + 2;
}

/* entries_max is set. */
static ufm_status call_open(calls *c, uint64_t assignments, pager_call *call, pinned *memory)
{
	uint64_t entry_bytes = call->entries_max * sizeof(ufm_expert_rows);
	ufm_status status =
		pinned_open(c->b, "the buffers of a call",
	                4 * (4 * assignments + BUDGET_ALIGN) + entry_bytes + BUDGET_ALIGN, memory);
	if (status != UFM_OK)
		return status;
	uint8_t *at = memory->memory;
	call->ids = (int32_t *)carve(&at, 4 * assignments);
	status = c->b->host_view(c->device, call->ids, &call->ids_view);
	if (status != UFM_OK)
		return status;
	call->gates = (float *)carve(&at, 4 * assignments);
	call->row_of = (uint32_t *)carve(&at, 4 * assignments);
	call->row_token = (uint32_t *)carve(&at, 4 * assignments);
	call->entries = (ufm_expert_rows *)carve(&at, entry_bytes);
	call->demands = alloc_zeroed(c->experts, sizeof *call->demands);
	call->counts = alloc_zeroed(c->experts, sizeof *call->counts);
	call->experts = alloc_zeroed(c->experts, sizeof *call->experts);
	call->first_rows = alloc_zeroed(c->experts, sizeof *call->first_rows);
	call->entry_call_rows = alloc_zeroed(call->entries_max, sizeof *call->entry_call_rows);
	if (!call->demands || !call->counts || !call->experts || !call->first_rows ||
	    !call->entry_call_rows)
		return UFM_ENOMEM;
	status = c->b->event_open(c->device, &call->timed_begin);
	return status == UFM_OK ? c->b->event_open(c->device, &call->timed_end) : status;
}

ufm_status calls_open(calls *c, uint64_t assignments, uint32_t piece_rows)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < PAGER_CALLS && status == UFM_OK; i++) {
		c->items[i].entries_max = entries_for(c, assignments, piece_rows);
		status = call_open(c, assignments, &c->items[i], &c->memory[i]);
	}
	return status;
}

void calls_close(calls *c)
{
	for (uint32_t i = 0; i < PAGER_CALLS; i++) {
		alloc_free(c->items[i].demands);
		alloc_free(c->items[i].counts);
		alloc_free(c->items[i].experts);
		alloc_free(c->items[i].first_rows);
		alloc_free(c->items[i].entry_call_rows);
		if (c->items[i].timed_begin)
			c->b->event_close(c->items[i].timed_begin);
		if (c->items[i].timed_end)
			c->b->event_close(c->items[i].timed_end);
		pinned_close(c->b, &c->memory[i]);
	}
}

ufm_status workspace_order(const calls *c, ufm_stream *stream)
{
	return c->ws_stream == stream ? UFM_OK : mark_order(c->marks, stream, c->ws_mark);
}

void workspace_used(calls *c, ufm_stream *stream, uint64_t mark)
{
	c->ws_stream = stream;
	c->ws_mark = mark;
}
