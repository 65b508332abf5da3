/* SPDX-License-Identifier: MIT */
/* The window of marks. */
#include "pager/marks.h"

static ufm_event *event_of(const marks *m, uint64_t mark)
{
	return m->events[mark % PAGER_MARKS];
}

ufm_status marks_open(marks *m)
{
	m->next = 1;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < PAGER_MARKS && status == UFM_OK; i++)
		status = m->b->event_open(m->device, &m->events[i]);
	return status;
}

void marks_close(marks *m)
{
	for (uint32_t i = 0; i < PAGER_MARKS; i++) {
		if (m->events[i])
			m->b->event_close(m->events[i]);
		m->events[i] = NULL;
	}
}

ufm_status mark_record(marks *m, ufm_stream *stream, uint64_t *mark)
{
	uint64_t number = m->next;
	ufm_status status = m->b->event_sync(event_of(m, number), UFM_WAIT_FOREVER);
	if (status == UFM_OK)
		status = m->b->event_record(event_of(m, number), stream);
	if (status != UFM_OK)
		return status;
	m->next = number + 1;
	*mark = number;
	return UFM_OK;
}

bool mark_known(const marks *m, uint64_t mark)
{
	return mark < m->next;
}

bool mark_is_last(const marks *m, uint64_t mark)
{
	return mark + 1 == m->next;
}

ufm_event *mark_event(const marks *m, uint64_t mark)
{
	return mark != 0 && mark + PAGER_MARKS >= m->next ? event_of(m, mark) : NULL;
}

bool mark_pending(const marks *m, uint64_t mark)
{
	int done = 1;
	ufm_event *event = mark_event(m, mark);
	if (event && m->b->event_query(event, &done) != UFM_OK)
		return true; /* a failing device answers nothing; order after it all the same */
	return !done;
}

ufm_status mark_order(const marks *m, ufm_stream *stream, uint64_t mark)
{
	ufm_event *event = mark_event(m, mark);
	return event ? m->b->stream_wait(stream, event) : UFM_OK;
}

ufm_status mark_wait(const marks *m, uint64_t mark)
{
	ufm_event *event = mark_event(m, mark);
	return event ? m->b->event_sync(event, UFM_WAIT_FOREVER) : UFM_OK;
}
