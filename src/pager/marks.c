/* SPDX-License-Identifier: MIT */
/* Marks: numbered points in streams, a window of which can be waited for. A mark that has left the
 * window is known to be done, because its event was waited for before it was reused. */
#include "base/status.h"
#include "pager/pager_int.h"

static ufm_event *mark_event(const ufm_engine *e, uint64_t mark)
{
	return e->marks[mark % PAGER_MARKS];
}

static bool in_window(const ufm_engine *e, uint64_t mark)
{
	return mark != 0 && mark + PAGER_MARKS >= e->mark_next;
}

ufm_status marks_open(ufm_engine *e)
{
	e->mark_next = 1;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < PAGER_MARKS && status == UFM_OK; i++)
		status = e->b->event_open(e->device, &e->marks[i]);
	return status;
}

void marks_close(ufm_engine *e)
{
	for (uint32_t i = 0; i < PAGER_MARKS; i++) {
		if (e->marks[i])
			e->b->event_close(e->marks[i]);
		e->marks[i] = NULL;
	}
}

ufm_status mark_record(ufm_engine *e, ufm_stream *stream, uint64_t *mark)
{
	uint64_t number = e->mark_next;
	ufm_status status = e->b->event_sync(mark_event(e, number), UFM_WAIT_FOREVER);
	if (status == UFM_OK)
		status = e->b->event_record(mark_event(e, number), stream);
	if (status != UFM_OK)
		return status;
	e->mark_next = number + 1;
	*mark = number;
	return UFM_OK;
}

bool mark_pending(const ufm_engine *e, uint64_t mark)
{
	int done = 1;
	if (in_window(e, mark) && e->b->event_query(mark_event(e, mark), &done) != UFM_OK)
		return true; /* a failing device answers nothing; order after it all the same */
	return !done;
}

ufm_status mark_order(ufm_engine *e, ufm_stream *stream, uint64_t mark)
{
	return in_window(e, mark) ? e->b->stream_wait(stream, mark_event(e, mark)) : UFM_OK;
}

ufm_status mark_wait(ufm_engine *e, uint64_t mark)
{
	return in_window(e, mark) ? e->b->event_sync(mark_event(e, mark), UFM_WAIT_FOREVER) : UFM_OK;
}

ufm_status pager_mark(ufm_engine *e, ufm_stream *stream, uint64_t *mark)
{
	lock_take(&e->lock);
	ufm_status status = mark_record(e, stream, mark);
	lock_drop(&e->lock);
	return status;
}

ufm_status pager_order(ufm_engine *e, ufm_stream *stream, uint64_t mark)
{
	lock_take(&e->lock);
	ufm_status status = mark_order(e, stream, mark);
	lock_drop(&e->lock);
	return status;
}

/* The event may be reused while this thread sleeps; then it waits for a later point, which is
 * correct, only longer. */
static ufm_status wait_event(ufm_engine *e, uint64_t mark, uint64_t wait_ns)
{
	lock_take(&e->lock);
	bool known = mark < e->mark_next;
	ufm_event *event = in_window(e, mark) ? mark_event(e, mark) : NULL;
	lock_drop(&e->lock);
	if (!known)
		return status_fail(UFM_EINVAL, "ticket: number %llu was never given by this engine",
		                   (unsigned long long)mark);
	ufm_status status = event ? e->b->event_sync(event, wait_ns) : UFM_OK;
	if (status != UFM_ETIMEDOUT)
		return status;
	lock_take(&e->lock);
	bool passed = !in_window(e, mark); /* the event was reused: the mark is done all the same */
	lock_drop(&e->lock);
	return passed ? UFM_OK : status;
}

/* What the compute stream waits for comes before the mark. */
static ufm_status retire_meanwhile(ufm_engine *e)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK) {
		lock_take(&e->lock);
		loads_step(e);
		ufm_event *end = loads_awaited(e);
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

/* Copies that the mark came after have ended: their times are counted now, so that the counters are
 * exact for whoever waited. */
ufm_status pager_wait_mark(ufm_engine *e, uint64_t mark, uint64_t wait_ns)
{
	ufm_status status = wait_event(e, mark, wait_ns);
	if (status == UFM_OK) {
		lock_take(&e->lock);
		loads_step(e);
		resident_harvest(e);
		spans_step(e, mark);
		lock_drop(&e->lock);
	}
	return status;
}
