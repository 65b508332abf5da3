/* SPDX-License-Identifier: MIT */
/* Device work on the timeline: its events, told on the host's clock. Without a timeline nothing is
 * done. */
#ifndef UFM_PAGER_SPANS_H
#define UFM_PAGER_SPANS_H

#include <stdbool.h>
#include <ufm/backend.h>

#include "base/lock.h"
#include "pager/pager.h"

#define PAGER_LAYER_SPANS 64
#define PAGER_WORK_SPANS 192

/* Work of the layer call's stream that may not have ended. */
struct pager_work {
	timeline_span span;
	ufm_event *begin, *end;
	bool ended, lost; /* `end` is recorded; or cannot be */
};

typedef struct work_ring {
	struct pager_work *items;
	uint32_t room;
	uint64_t next, oldest; /* numbers; n lies at n % room */
} work_ring;

/* Events of a copy; `wait` just before the compute stream waited for `end`, or NULL. */
typedef struct copy_events {
	ufm_event *begin, *end, *wait;
} copy_events;

/* It has a lock of its own, because work is noted both with the engine's lock and without. */
typedef struct spans {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *compute;
	timeline *timeline; /* NULL: none is kept; has a lock of its own */
	/* guarded by the layer lock: */
	ufm_stream *stream; /* of the layer call in progress */
	lock lock;          /* guards everything below; taken after the engine's lock */
	/* A layer's span begins before and ends after those of its parts, so it has its own ring. */
	work_ring layers, parts;
	struct pager_work items[PAGER_LAYER_SPANS + PAGER_WORK_SPANS];
	/* Passed events whose time is known; the others are measured from the current one. */
	ufm_event *anchors[2];
	uint32_t anchor;
	uint64_t anchor_ns;
} spans;

/* b, device, compute are set and the lock is ready. timeline_events 0: keeps no timeline. */
ufm_status spans_open(spans *t, uint32_t timeline_events);
void spans_close(spans *t);
/* A layer call's work is enqueued on `stream` from now on. */
void spans_follow(spans *t, ufm_stream *stream);
/* pager_work_begin, pager_work_end. */
pager_work *spans_begin(spans *t, timeline_kind kind);
void spans_end(spans *t, pager_work *work, const timeline_span *span);
/* Retires what has ended. idle: the compute stream has nothing to do, so that the clocks can be
 * measured anew when they were not for a while. */
void spans_step(spans *t, bool idle);
/* A copy that has ended; of `copy` all but kind and times is given. */
void spans_copy(spans *t, const timeline_span *copy, const copy_events *events);

#endif
