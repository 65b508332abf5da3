/* SPDX-License-Identifier: MIT */
/* What happened when: spans of copies, kernels, CPU work and waits, in a ring of fixed size. */
#ifndef UFM_TELEMETRY_TIMELINE_H
#define UFM_TELEMETRY_TIMELINE_H

#include <stdint.h>
#include <ufm/ufm.h>

typedef enum timeline_kind {
#define TIMELINE(kind, track, name) TIMELINE_##kind,
#include "telemetry/timeline.def"
#undef TIMELINE
	TIMELINE_KINDS
} timeline_kind;

typedef enum timeline_track {
	TRACK_LINK,   /* copies of experts */
	TRACK_DEVICE, /* the compute stream: kernels, and its waits for copies */
	TRACK_LAYERS, /* from the first work of a layer's call to its last, on the compute stream */
	TRACK_CPU,    /* experts computed where they lie */
	TRACK_HOST,   /* the calling thread */
	TRACK_COUNT
} timeline_track;

#define TIMELINE_NONE UINT32_MAX

/* Times are clock_now_ns(). What is not known of layer and expert is TIMELINE_NONE, of the rest 0. */
typedef struct timeline_span {
	timeline_kind kind;
	uint64_t begin_ns, end_ns;
	uint32_t layer, expert; /* layer: of TIMELINE_STEP the step's number; expert: when it is one */
	uint32_t experts;       /* of a group */
	uint32_t tokens;        /* or rows, for experts */
	uint64_t bytes;
} timeline_span;

#define TIMELINE_EVENTS_MAX (1u << 24)

typedef struct timeline timeline;

/* Takes all memory that it will ever need. 1 <= events <= TIMELINE_EVENTS_MAX; UFM_ENOMEM. */
ufm_status timeline_open(uint32_t events, timeline **out);
void timeline_close(timeline *t); /* NULL is allowed */

/* Any thread; allocates nothing. When the ring is full the oldest span goes, and counts as dropped.
 * A span that ends before it begins is drawn empty. t NULL: does nothing. */
void timeline_add(timeline *t, const timeline_span *span);
/* Counts a span that could not be recorded. */
void timeline_drop(timeline *t);

uint64_t timeline_dropped(timeline *t);
/* When it was opened. */
uint64_t timeline_opened_ns(const timeline *t);
/* The spans kept, in the order in which they were added, in memory to be freed with alloc_free. */
ufm_status timeline_copy(timeline *t, timeline_span **spans, uint32_t *count);

timeline_track timeline_track_of(timeline_kind kind);
const char *timeline_kind_name(timeline_kind kind);
const char *timeline_track_name(timeline_track track);

#endif
