/* SPDX-License-Identifier: MIT */
/* Device work on the timeline: its events, told on the host's clock. */
#include "base/clock.h"
#include "base/status.h"
#include "pager/pager_int.h"
#include "telemetry/timeline_file.h"

/* A device tells the time between two events in a float of milliseconds, whose steps grow with it: 0.06
 * us after a second. The two clocks drift apart besides. */
#define ANCHOR_PERIOD_NS 1000000000u
#define ANCHOR_TRIES 3u

/* ---- clocks */

/* When a passed event passed. */
static bool host_ns(const ufm_engine *e, ufm_event *event, uint64_t *out)
{
	const span_log *t = &e->spans;
	ufm_event *anchor = t->anchors[t->anchor];
	uint64_t after_ns = 0, before_ns = 0;
	if (e->b->event_elapsed(anchor, event, &after_ns) != UFM_OK)
		return false;
	if (after_ns == 0 && e->b->event_elapsed(event, anchor, &before_ns) != UFM_OK)
		return false;
	*out = t->anchor_ns + after_ns - before_ns;
	return true;
}

/* Records an event on the compute stream, which has nothing else to do, and waits for it: the event
 * passed between the two times of the host. */
static bool pass(ufm_engine *e, ufm_event *event, uint64_t *from_ns, uint64_t *to_ns)
{
	*from_ns = clock_now_ns();
	if (e->b->event_record(event, e->compute) != UFM_OK ||
	    e->b->event_sync(event, UFM_WAIT_FOREVER) != UFM_OK)
		return false;
	*to_ns = clock_now_ns();
	return true;
}

/* The first anchor: the try that took least. */
static void anchor_first(ufm_engine *e)
{
	span_log *t = &e->spans;
	uint64_t best_ns = UINT64_MAX, from_ns, to_ns;
	for (uint32_t i = 0; i < ANCHOR_TRIES; i++) {
		ufm_event *event = t->anchors[!t->anchor];
		if (!pass(e, event, &from_ns, &to_ns) || to_ns - from_ns >= best_ns)
			continue;
		best_ns = to_ns - from_ns;
		t->anchor = !t->anchor;
		t->anchor_ns = from_ns + best_ns / 2;
	}
}

/* What the old anchor says holds as long as it can be true, so that spans on both sides of the new one
 * fit each other. */
static void anchor_again(ufm_engine *e)
{
	span_log *t = &e->spans;
	ufm_event *event = t->anchors[!t->anchor];
	uint64_t from_ns, to_ns, told_ns;
	if (!pass(e, event, &from_ns, &to_ns) || !host_ns(e, event, &told_ns))
		return;
	t->anchor = !t->anchor;
	t->anchor_ns = told_ns < from_ns ? from_ns : told_ns > to_ns ? to_ns : told_ns;
}

/* ---- work in flight */

static struct pager_work *item(const work_ring *ring, uint64_t number)
{
	return &ring->items[number % ring->room];
}

static bool passed(const ufm_engine *e, const struct pager_work *w)
{
	int done = 0;
	if (w->lost)
		return true;
	return w->ended && e->b->event_query(w->end, &done) == UFM_OK && done;
}

static void retire(ufm_engine *e, struct pager_work *w)
{
	timeline *to = e->spans.timeline;
	if (!w->lost && host_ns(e, w->begin, &w->span.begin_ns) && host_ns(e, w->end, &w->span.end_ns))
		timeline_add(to, &w->span);
	else
		timeline_drop(to);
}

static void ring_step(ufm_engine *e, work_ring *ring)
{
	while (ring->oldest < ring->next && passed(e, item(ring, ring->oldest)))
		retire(e, item(ring, ring->oldest++));
}

void spans_step(ufm_engine *e, uint64_t mark)
{
	span_log *t = &e->spans;
	if (!t->timeline)
		return;
	ring_step(e, &t->parts);
	ring_step(e, &t->layers);
	if (mark + 1 == e->mark_next && clock_now_ns() - t->anchor_ns > ANCHOR_PERIOD_NS)
		anchor_again(e);
}

/* A resident call holds the lock already. */
static ufm_stream *enter(ufm_engine *e)
{
	if (e->resident_stream)
		return e->resident_stream;
	lock_take(&e->lock);
	return e->compute;
}

static void leave(ufm_engine *e)
{
	if (!e->resident_stream)
		lock_drop(&e->lock);
}

pager_work *pager_work_begin(ufm_engine *e, timeline_kind kind)
{
	span_log *t = &e->spans;
	if (!t->timeline)
		return NULL;
	work_ring *ring = kind == TIMELINE_LAYER ? &t->layers : &t->parts;
	ufm_stream *stream = enter(e);
	if (ring->next - ring->oldest == ring->room)
		ring_step(e, ring);
	struct pager_work *w = NULL;
	if (ring->next - ring->oldest < ring->room) {
		w = item(ring, ring->next);
		w->span.kind = kind;
		w->ended = w->lost = false;
		if (e->b->event_record(w->begin, stream) == UFM_OK)
			ring->next++;
		else
			w = NULL;
	}
	leave(e);
	if (!w)
		timeline_drop(t->timeline);
	return w;
}

void pager_work_end(ufm_engine *e, pager_work *w, const timeline_span *span)
{
	if (!w)
		return;
	timeline_kind kind = w->span.kind;
	ufm_stream *stream = enter(e);
	w->span = *span;
	w->span.kind = kind;
	w->ended = e->b->event_record(w->end, stream) == UFM_OK;
	w->lost = !w->ended;
	leave(e);
}

void spans_load(ufm_engine *e, const load *l)
{
	timeline *to = e->spans.timeline;
	timeline_span copy = {.kind = TIMELINE_COPY,
	                      .layer = l->items[0].key / e->experts,
	                      .expert = l->count == 1 ? l->items[0].key % e->experts : TIMELINE_NONE,
	                      .experts = l->count,
	                      .bytes = l->count * e->desc.expert_bytes};
	if (!to)
		return;
	if (!host_ns(e, l->begin, &copy.begin_ns) || !host_ns(e, l->end, &copy.end_ns)) {
		timeline_drop(to);
		return;
	}
	timeline_add(to, &copy);
	timeline_span stall = {
		.kind = TIMELINE_STALL, .end_ns = copy.end_ns, .layer = copy.layer, .expert = copy.expert};
	if (l->waited && host_ns(e, l->wait, &stall.begin_ns) && stall.begin_ns < stall.end_ns)
		timeline_add(to, &stall);
}

/* ---- opening, closing, writing */

static ufm_status open_events(ufm_engine *e)
{
	span_log *t = &e->spans;
	ufm_status status = e->b->event_open(e->device, &t->anchors[0]);
	if (status == UFM_OK)
		status = e->b->event_open(e->device, &t->anchors[1]);
	for (uint32_t i = 0; i < PAGER_LAYER_SPANS + PAGER_WORK_SPANS && status == UFM_OK; i++) {
		status = e->b->event_open(e->device, &t->items[i].begin);
		if (status == UFM_OK)
			status = e->b->event_open(e->device, &t->items[i].end);
	}
	return status;
}

ufm_status spans_open(ufm_engine *e)
{
	span_log *t = &e->spans;
	if (e->config.timeline_events == 0)
		return UFM_OK;
	t->layers = (work_ring){.items = t->items, .room = PAGER_LAYER_SPANS};
	t->parts = (work_ring){.items = t->items + PAGER_LAYER_SPANS, .room = PAGER_WORK_SPANS};
	ufm_status status = timeline_open(e->config.timeline_events, &t->timeline);
	if (status == UFM_OK)
		status = open_events(e);
	if (status == UFM_OK)
		anchor_first(e);
	return status;
}

static void close_event(ufm_engine *e, ufm_event *event)
{
	if (event)
		e->b->event_close(event);
}

void spans_close(ufm_engine *e)
{
	span_log *t = &e->spans;
	for (uint32_t i = 0; i < PAGER_LAYER_SPANS + PAGER_WORK_SPANS; i++) {
		close_event(e, t->items[i].begin);
		close_event(e, t->items[i].end);
	}
	close_event(e, t->anchors[0]);
	close_event(e, t->anchors[1]);
	timeline_close(t->timeline);
	*t = (span_log){0};
}

timeline *engine_timeline(ufm_engine *e)
{
	return e->spans.timeline;
}

ufm_status engine_settle(ufm_engine *e)
{
	engine_enter(e);
	lock_take(&e->lock);
	ufm_status status = loads_drain(e);
	if (status == UFM_OK)
		status = e->b->stream_sync(e->compute);
	if (status == UFM_OK)
		status = mark_wait(e, e->resident_mark);
	if (status == UFM_OK)
		spans_step(e, e->mark_next - 1);
	lock_drop(&e->lock);
	engine_leave(e);
	return status;
}

ufm_status ufm_engine_write_timeline(ufm_engine *e, const char *path)
{
	timeline_file *file;
	if (!e->spans.timeline)
		return status_fail(UFM_EINVAL, "timeline: this engine keeps none (timeline_events is 0)");
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a file to write");
	ufm_status status = engine_settle(e);
	if (status == UFM_OK)
		status = timeline_file_open(path, &file);
	if (status != UFM_OK)
		return status;
	status = timeline_file_add(file, e->spans.timeline, "ufm");
	ufm_status closed = timeline_file_close(file);
	return status == UFM_OK ? closed : status;
}
