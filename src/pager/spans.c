/* SPDX-License-Identifier: MIT */
/* Work in flight, and the two clocks. */
#include "pager/spans.h"

#include "base/clock.h"

/* A device tells the time between two events in a float of milliseconds, whose steps grow with it:
 * 0.06 us after a second. The two clocks drift apart besides. */
#define ANCHOR_PERIOD_NS 1000000000u
#define ANCHOR_TRIES 3u

/* ---- clocks */

/* When a passed event passed. */
static bool host_ns(const spans *t, ufm_event *event, uint64_t *out)
{
	ufm_event *anchor = t->anchors[t->anchor];
	uint64_t after_ns = 0, before_ns = 0;
	if (t->b->event_elapsed(anchor, event, &after_ns) != UFM_OK)
		return false;
	if (after_ns == 0 && t->b->event_elapsed(event, anchor, &before_ns) != UFM_OK)
		return false;
	*out = t->anchor_ns + after_ns - before_ns;
	return true;
}

/* Records an event on the compute stream, which has nothing else to do, and waits for it: the event
 * passed between the two times of the host. */
static bool pass(spans *t, ufm_event *event, uint64_t *from_ns, uint64_t *to_ns)
{
	*from_ns = clock_now_ns();
	if (t->b->event_record(event, t->compute) != UFM_OK ||
	    t->b->event_sync(event, UFM_WAIT_FOREVER) != UFM_OK)
		return false;
	*to_ns = clock_now_ns();
	return true;
}

/* The first anchor: the try that took least. */
static void anchor_first(spans *t)
{
	uint64_t best_ns = UINT64_MAX, from_ns, to_ns;
	for (uint32_t i = 0; i < ANCHOR_TRIES; i++) {
		ufm_event *event = t->anchors[!t->anchor];
		if (!pass(t, event, &from_ns, &to_ns) || to_ns - from_ns >= best_ns)
			continue;
		best_ns = to_ns - from_ns;
		t->anchor = !t->anchor;
		t->anchor_ns = from_ns + best_ns / 2;
	}
}

/* What the old anchor says holds as long as it can be true, so that spans on both sides of the new
 * one fit each other. */
static void anchor_again(spans *t)
{
	ufm_event *event = t->anchors[!t->anchor];
	uint64_t from_ns, to_ns, told_ns;
	if (!pass(t, event, &from_ns, &to_ns) || !host_ns(t, event, &told_ns))
		return;
	t->anchor = !t->anchor;
	t->anchor_ns = told_ns < from_ns ? from_ns : told_ns > to_ns ? to_ns : told_ns;
}

/* ---- work in flight */

static struct pager_work *item(const work_ring *ring, uint64_t number)
{
	return &ring->items[number % ring->room];
}

static bool passed(const spans *t, const struct pager_work *w)
{
	int done = 0;
	if (w->lost)
		return true;
	return w->ended && t->b->event_query(w->end, &done) == UFM_OK && done;
}

static void retire(spans *t, struct pager_work *w)
{
	timeline *to = t->timeline;
	if (!w->lost && host_ns(t, w->begin, &w->span.begin_ns) && host_ns(t, w->end, &w->span.end_ns))
		timeline_add(to, &w->span);
	else
		timeline_drop(to);
}

static void ring_step(spans *t, work_ring *ring)
{
	while (ring->oldest < ring->next && passed(t, item(ring, ring->oldest)))
		retire(t, item(ring, ring->oldest++));
}

void spans_step(spans *t, bool idle)
{
	if (!t->timeline)
		return;
	lock_take(&t->lock);
	ring_step(t, &t->parts);
	ring_step(t, &t->layers);
	if (idle && clock_now_ns() - t->anchor_ns > ANCHOR_PERIOD_NS)
		anchor_again(t);
	lock_drop(&t->lock);
}

void spans_follow(spans *t, ufm_stream *stream)
{
	t->stream = stream;
}

/* The lock is held. NULL: no room, or the event cannot be recorded. */
static pager_work *begin_work(spans *t, timeline_kind kind)
{
	work_ring *ring = kind == TIMELINE_LAYER ? &t->layers : &t->parts;
	if (ring->next - ring->oldest == ring->room)
		ring_step(t, ring);
	if (ring->next - ring->oldest == ring->room)
		return NULL;
	struct pager_work *w = item(ring, ring->next);
	w->span.kind = kind;
	w->ended = w->lost = false;
	if (t->b->event_record(w->begin, t->stream) != UFM_OK)
		return NULL;
	ring->next++;
	return w;
}

pager_work *spans_begin(spans *t, timeline_kind kind)
{
	if (!t->timeline)
		return NULL;
	lock_take(&t->lock);
	pager_work *w = begin_work(t, kind);
	lock_drop(&t->lock);
	if (!w)
		timeline_drop(t->timeline);
	return w;
}

void spans_end(spans *t, pager_work *w, const timeline_span *span)
{
	if (!w)
		return;
	lock_take(&t->lock);
	timeline_kind kind = w->span.kind;
	w->span = *span;
	w->span.kind = kind;
	w->ended = t->b->event_record(w->end, t->stream) == UFM_OK;
	w->lost = !w->ended;
	lock_drop(&t->lock);
}

/* The lock is held. */
static void add_copy(const spans *t, timeline_span copy, const copy_events *events)
{
	copy.kind = TIMELINE_COPY;
	if (!host_ns(t, events->begin, &copy.begin_ns) || !host_ns(t, events->end, &copy.end_ns)) {
		timeline_drop(t->timeline);
		return;
	}
	timeline_add(t->timeline, &copy);
	timeline_span stall = {
		.kind = TIMELINE_STALL, .end_ns = copy.end_ns, .layer = copy.layer, .expert = copy.expert};
	if (events->wait && host_ns(t, events->wait, &stall.begin_ns) && stall.begin_ns < stall.end_ns)
		timeline_add(t->timeline, &stall);
}

void spans_copy(spans *t, const timeline_span *copy, const copy_events *events)
{
	if (!t->timeline)
		return;
	lock_take(&t->lock);
	add_copy(t, *copy, events);
	lock_drop(&t->lock);
}

/* ---- opening, closing */

static ufm_status open_events(spans *t)
{
	ufm_status status = t->b->event_open(t->device, &t->anchors[0]);
	if (status == UFM_OK)
		status = t->b->event_open(t->device, &t->anchors[1]);
	for (uint32_t i = 0; i < PAGER_LAYER_SPANS + PAGER_WORK_SPANS && status == UFM_OK; i++) {
		status = t->b->event_open(t->device, &t->items[i].begin);
		if (status == UFM_OK)
			status = t->b->event_open(t->device, &t->items[i].end);
	}
	return status;
}

ufm_status spans_open(spans *t, uint32_t timeline_events)
{
	t->stream = t->compute;
	if (timeline_events == 0)
		return UFM_OK;
	t->layers = (work_ring){.items = t->items, .room = PAGER_LAYER_SPANS};
	t->parts = (work_ring){.items = t->items + PAGER_LAYER_SPANS, .room = PAGER_WORK_SPANS};
	ufm_status status = timeline_open(timeline_events, &t->timeline);
	if (status == UFM_OK)
		status = open_events(t);
	if (status == UFM_OK)
		anchor_first(t);
	return status;
}

static void close_event(const spans *t, ufm_event *event)
{
	if (event)
		t->b->event_close(event);
}

void spans_close(spans *t)
{
	for (uint32_t i = 0; i < PAGER_LAYER_SPANS + PAGER_WORK_SPANS; i++) {
		close_event(t, t->items[i].begin);
		close_event(t, t->items[i].end);
	}
	close_event(t, t->anchors[0]);
	close_event(t, t->anchors[1]);
	timeline_close(t->timeline);
}
