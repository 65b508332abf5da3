/* SPDX-License-Identifier: MIT */
/* Host buffers of layer calls, page-locked, used in turn so that the next call can be prepared while
 * copies of the last one are still being read. */
#include "base/alloc.h"
#include "base/size.h"
#include "pager/pager_int.h"

static uint8_t *carve(uint8_t **at, uint64_t size_bytes)
{
	uint8_t *here = *at;
	*at += size_round_up(size_bytes, PAGER_ALIGN);
	return here;
}

/* An expert has one entry, and one more for every piece boundary that cuts it. */
static uint32_t entries_for(const ufm_engine *e, uint64_t assignments)
{
	return e->experts + (uint32_t)(assignments / e->ws.piece_rows) + 2;
}

static ufm_status call_open(ufm_engine *e, pager_call *call, pinned *memory)
{
	uint64_t assignments = (uint64_t)e->config.call_tokens_max * e->config.top_k_max;
	call->entries_max = entries_for(e, assignments);
	uint64_t entry_bytes = call->entries_max * sizeof(ufm_expert_rows);
	ufm_status status =
		pinned_open(e->b, "the buffers of a call",
	                4 * (4 * assignments + PAGER_ALIGN) + entry_bytes + PAGER_ALIGN, memory);
	if (status != UFM_OK)
		return status;
	uint8_t *at = memory->memory;
	call->ids = (int32_t *)carve(&at, 4 * assignments);
	status = e->b->host_view(e->device, call->ids, &call->ids_view);
	if (status != UFM_OK)
		return status;
	call->gates = (float *)carve(&at, 4 * assignments);
	call->row_of = (uint32_t *)carve(&at, 4 * assignments);
	call->row_token = (uint32_t *)carve(&at, 4 * assignments);
	call->entries = (ufm_expert_rows *)carve(&at, entry_bytes);
	call->demands = alloc_zeroed(e->experts, sizeof *call->demands);
	call->counts = alloc_zeroed(e->experts, sizeof *call->counts);
	call->experts = alloc_zeroed(e->experts, sizeof *call->experts);
	return call->demands && call->counts && call->experts ? UFM_OK : UFM_ENOMEM;
}

ufm_status calls_open(ufm_engine *e)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < PAGER_CALLS && status == UFM_OK && e->config.max_tokens; i++)
		status = call_open(e, &e->calls[i], &e->call_memory[i]);
	return status;
}

void calls_close(ufm_engine *e)
{
	for (uint32_t i = 0; i < PAGER_CALLS; i++) {
		alloc_free(e->calls[i].demands);
		alloc_free(e->calls[i].counts);
		alloc_free(e->calls[i].experts);
		pinned_close(e->b, &e->call_memory[i]);
	}
}

/* The layer lock guards both fields. */
ufm_status workspace_order(ufm_engine *e, ufm_stream *stream)
{
	return e->ws_stream == stream ? UFM_OK : mark_order(e, stream, e->ws_mark);
}

void workspace_used(ufm_engine *e, ufm_stream *stream, uint64_t mark)
{
	e->ws_stream = stream;
	e->ws_mark = mark;
}

ufm_status pager_call_begin(ufm_engine *e)
{
	lock_take(&e->lock);
	ufm_status status = workspace_order(e, e->compute);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_call_end(ufm_engine *e, pager_call *call)
{
	lock_take(&e->lock);
	ufm_status status = mark_record(e, e->compute, &call->mark);
	if (status == UFM_OK)
		workspace_used(e, e->compute, call->mark);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_call_next(ufm_engine *e, pager_call **out)
{
	pager_call *call = &e->calls[e->call_next];
	ufm_status status = pager_wait_mark(e, call->mark, UFM_WAIT_FOREVER);
	if (status != UFM_OK)
		return status;
	e->call_next = (e->call_next + 1) % PAGER_CALLS;
	*out = call;
	return UFM_OK;
}
