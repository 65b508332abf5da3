/* SPDX-License-Identifier: MIT */
/* Turns at the workspace: a call on the engine's own stream, or of a resident layer on any. */
#include "pager/pager_int.h"
#include "pager/settle.h"

ufm_status pager_call_next(ufm_engine *e, pager_call **out)
{
	calls *c = &e->calls;
	pager_call *call = &c->items[c->next];
	ufm_status status = settle_call(e, call->mark);
	if (status != UFM_OK)
		return status;
	choose_learn(e, call);
	c->next = (c->next + 1) % PAGER_CALLS;
	*out = call;
	return UFM_OK;
}

ufm_status pager_call_begin(ufm_engine *e)
{
	lock_take(&e->lock);
	ufm_status status = workspace_order(&e->calls, e->compute);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_call_end(ufm_engine *e, pager_call *call)
{
	lock_take(&e->lock);
	ufm_status status = mark_record(&e->marks, e->compute, &call->mark);
	if (status == UFM_OK)
		workspace_used(&e->calls, e->compute, call->mark);
	choose_end(e, call);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_resident_begin(ufm_engine *e, uint32_t layer, ufm_stream *stream,
                                ufm_devptr *blocks)
{
	*blocks = 0;
	lock_take(&e->lock);
	ufm_status status = residents_begin(&e->residents, layer, stream, blocks);
	if (*blocks)
		spans_follow(&e->spans, stream);
	else
		lock_drop(&e->lock);
	return status;
}

/* After a failure what was enqueued may still read the slots, and nothing tells until when. */
ufm_status pager_resident_end(ufm_engine *e, uint32_t layer, ufm_stream *stream, pager_call *call,
                              uint64_t assignments, ufm_status outcome)
{
	ufm_status status = outcome;
	spans_follow(&e->spans, e->compute);
	counter_add(&e->counters, COUNTER_calls, 1);
	if (status == UFM_OK)
		status = residents_end(&e->residents, layer, stream, call, assignments);
	if (status != UFM_OK)
		(void)e->b->stream_sync(stream);
	lock_drop(&e->lock);
	return status;
}
