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

/* Whether its event is still that of this mark. */
static bool mark_is_here(const marks *m, uint64_t mark)
{
	return mark != 0 && mark + PAGER_MARKS >= m->next;
}

static bool has_passed(const marks *m, uint64_t mark)
{
	return mark <= m->passed && m->streams[mark % PAGER_MARKS] == m->compute;
}

/* The event's last mark must be done. */
static ufm_status free_event(const marks *m, uint64_t number)
{
	if (number <= PAGER_MARKS || has_passed(m, number - PAGER_MARKS))
		return UFM_OK;
	return m->b->event_sync(event_of(m, number), UFM_WAIT_FOREVER);
}

ufm_status mark_record(marks *m, ufm_stream *stream, uint64_t *mark)
{
	uint64_t number = m->next;
	ufm_status status = free_event(m, number);
	if (status == UFM_OK)
		status = m->b->event_record(event_of(m, number), stream);
	if (status != UFM_OK)
		return status;
	m->streams[number % PAGER_MARKS] = stream;
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

void mark_seen(marks *m, uint64_t mark)
{
	if (mark_is_here(m, mark) && m->streams[mark % PAGER_MARKS] == m->compute && mark > m->passed)
		m->passed = mark;
}

ufm_event *mark_event(const marks *m, uint64_t mark)
{
	return mark_is_here(m, mark) && !has_passed(m, mark) ? event_of(m, mark) : NULL;
}

bool mark_pending(marks *m, uint64_t mark)
{
	int done = 1;
	ufm_event *event = mark_event(m, mark);
	if (event && m->b->event_query(event, &done) != UFM_OK)
		return true; /* a failing device answers nothing; order after it all the same */
	if (done)
		mark_seen(m, mark);
	return !done;
}

ufm_status mark_order(const marks *m, ufm_stream *stream, uint64_t mark)
{
	ufm_event *event = mark_event(m, mark);
	return event ? m->b->stream_wait(stream, event) : UFM_OK;
}

ufm_status mark_wait(marks *m, uint64_t mark)
{
	ufm_event *event = mark_event(m, mark);
	ufm_status status = event ? m->b->event_sync(event, UFM_WAIT_FOREVER) : UFM_OK;
	if (status == UFM_OK)
		mark_seen(m, mark);
	return status;
}
