/* SPDX-License-Identifier: MIT */
/* Waiting, and who hears of what has ended. */
#include "pager/settle.h"

#include "base/status.h"
#include "pager/pager_int.h"

ufm_status settle_before(ufm_engine *e)
{
	loads_step(&e->loads);
	return residents_settle(&e->residents);
}

ufm_status settle_rest(ufm_engine *e)
{
	ufm_status status = loads_drain(&e->loads);
	return status == UFM_OK ? tables_await(&e->tables) : status;
}

ufm_status settle_uses(ufm_engine *e)
{
	lock_take(&e->layer_lock);
	lock_take(&e->lock);
	ufm_status status = residents_settle(&e->residents);
	lock_drop(&e->lock);
	lock_drop(&e->layer_lock);
	return status;
}

void settle_counters(ufm_engine *e)
{
	if (!atomic_load_explicit(&e->residents.unread, memory_order_relaxed))
		return;
	lock_take(&e->lock);
	residents_harvest(&e->residents);
	lock_drop(&e->lock);
}

ufm_status engine_settle(ufm_engine *e)
{
	lock_take(&e->layer_lock);
	lock_take(&e->lock);
	ufm_status status = loads_drain(&e->loads);
	if (status == UFM_OK)
		status = e->b->stream_sync(e->compute);
	if (status == UFM_OK)
		status = tables_await(&e->tables);
	if (status == UFM_OK)
		spans_step(&e->spans, true);
	lock_drop(&e->lock);
	lock_drop(&e->layer_lock);
	return status;
}

/* ------------------------------------------------------------------ marks */

ufm_status pager_mark(ufm_engine *e, ufm_stream *stream, uint64_t *mark)
{
	lock_take(&e->lock);
	ufm_status status = mark_record(&e->marks, stream, mark);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_order(ufm_engine *e, ufm_stream *stream, uint64_t mark)
{
	lock_take(&e->lock);
	ufm_status status = mark_order(&e->marks, stream, mark);
	lock_drop(&e->lock);
	return status;
}

/* The event may be reused while this thread sleeps; then it waits for a later point, which is
 * correct, only longer. */
static ufm_status wait_event(ufm_engine *e, uint64_t mark, uint64_t wait_ns)
{
	lock_take(&e->lock);
	bool known = mark_known(&e->marks, mark);
	ufm_event *event = mark_event(&e->marks, mark);
	lock_drop(&e->lock);
	if (!known)
		return status_fail(UFM_EINVAL, "ticket: number %llu was never given by this engine",
		                   (unsigned long long)mark);
	ufm_status status = event ? e->b->event_sync(event, wait_ns) : UFM_OK;
	if (status != UFM_OK && status != UFM_ETIMEDOUT)
		return status;
	lock_take(&e->lock);
	if (status == UFM_OK)
		mark_seen(&e->marks, mark);
	bool passed = status == UFM_OK ||
	              !mark_event(&e->marks, mark); /* reused since, or seen by another thread: done */
	lock_drop(&e->lock);
	return passed ? UFM_OK : status;
}

/* What the compute stream waits for comes before the mark. */
static ufm_status retire_meanwhile(ufm_engine *e)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK) {
		lock_take(&e->lock);
		loads_step(&e->loads);
		ufm_event *end = loads_awaited(&e->loads);
		lock_drop(&e->lock);
		if (!end)
			return UFM_OK;
		status = e->b->event_sync(end, UFM_WAIT_FOREVER);
	}
	return status;
}

ufm_status pager_await_ids(ufm_engine *e, uint64_t mark)
{
	ufm_status status = retire_meanwhile(e);
	return status == UFM_OK ? wait_event(e, mark, UFM_WAIT_FOREVER) : status;
}

/* Who used residents is read before the call's buffers serve again. Copies are retired where the host waits anyway. */
ufm_status settle_call(ufm_engine *e, uint64_t mark)
{
	ufm_status status = wait_event(e, mark, UFM_WAIT_FOREVER);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	residents_harvest(&e->residents);
	spans_step(&e->spans, mark_is_last(&e->marks, mark));
	lock_drop(&e->lock);
	return UFM_OK;
}

/* Copies that the mark came after have ended: their times are counted now, so that the counters are
 * exact for whoever waited. */
ufm_status pager_wait_mark(ufm_engine *e, uint64_t mark, uint64_t wait_ns)
{
	ufm_status status = wait_event(e, mark, wait_ns);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	loads_step(&e->loads);
	residents_harvest(&e->residents);
	spans_step(&e->spans, mark_is_last(&e->marks, mark));
	lock_drop(&e->lock);
	return UFM_OK;
}
