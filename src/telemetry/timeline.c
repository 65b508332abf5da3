/* SPDX-License-Identifier: MIT */
/* What happened when: spans of copies, kernels, CPU work and waits, in a ring of fixed size. */
#include "telemetry/timeline.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/lock.h"

struct timeline {
	uint64_t opened_ns;
	lock lock;            /* guards what follows */
	uint32_t room;        /* of spans */
	uint64_t added, lost; /* lost: never recorded */
	timeline_span *spans; /* [room]; number n lies at n % room */
};

ufm_status timeline_open(uint32_t events, timeline **out)
{
	assert(events >= 1 && events <= TIMELINE_EVENTS_MAX);
	timeline *t = alloc_zeroed(1, sizeof *t);
	if (!t)
		return UFM_ENOMEM;
	t->spans = alloc_zeroed(events, sizeof *t->spans);
	if (!t->spans) {
		alloc_free(t);
		return UFM_ENOMEM;
	}
	lock_init(&t->lock, LOCK_RANK_LEAF, "timeline");
	t->room = events;
	t->opened_ns = clock_now_ns();
	*out = t;
	return UFM_OK;
}

void timeline_close(timeline *t)
{
	if (!t)
		return;
	lock_destroy(&t->lock);
	alloc_free(t->spans);
	alloc_free(t);
}

void timeline_add(timeline *t, const timeline_span *span)
{
	if (!t)
		return;
	lock_take(&t->lock);
	t->spans[t->added++ % t->room] = *span;
	lock_drop(&t->lock);
}

void timeline_drop(timeline *t)
{
	if (!t)
		return;
	lock_take(&t->lock);
	t->lost++;
	lock_drop(&t->lock);
}

uint64_t timeline_dropped(timeline *t)
{
	lock_take(&t->lock);
	uint64_t dropped = t->lost + (t->added > t->room ? t->added - t->room : 0);
	lock_drop(&t->lock);
	return dropped;
}

uint64_t timeline_opened_ns(const timeline *t)
{
	return t->opened_ns;
}

ufm_status timeline_copy(timeline *t, timeline_span **spans, uint32_t *count)
{
	timeline_span *copy = alloc_zeroed(t->room, sizeof *copy);
	if (!copy)
		return UFM_ENOMEM;
	lock_take(&t->lock);
	uint64_t first = t->added > t->room ? t->added - t->room : 0;
	for (uint64_t n = first; n < t->added; n++)
		copy[n - first] = t->spans[n % t->room];
	*count = (uint32_t)(t->added - first);
	lock_drop(&t->lock);
	*spans = copy;
	return UFM_OK;
}

timeline_track timeline_track_of(timeline_kind kind)
{
	static const timeline_track tracks[TIMELINE_KINDS] = {
#define TIMELINE(kind, track, name) [TIMELINE_##kind] = TRACK_##track,
#include "telemetry/timeline.def"
#undef TIMELINE
	};
	return tracks[kind];
}

const char *timeline_kind_name(timeline_kind kind)
{
	static const char *const names[TIMELINE_KINDS] = {
#define TIMELINE(kind, track, name) [TIMELINE_##kind] = (name),
#include "telemetry/timeline.def"
#undef TIMELINE
	};
	return names[kind];
}

const char *timeline_track_name(timeline_track track)
{
	static const char *const names[TRACK_COUNT] = {"link", "device", "layers", "cpu", "host"};
	return names[track];
}
