/* SPDX-License-Identifier: MIT */
/* Marks: numbered points in streams, a window of which can be waited for. A mark that has left the
 * window is known to be done, because its event was waited for before it was reused. So is a mark of the compute stream
 * once a later one of it has been seen to pass: to ask the driver about an event costs as much as to record it. */
#ifndef UFM_PAGER_MARKS_H
#define UFM_PAGER_MARKS_H

#include <stdbool.h>
#include <ufm/backend.h>

#define PAGER_MARKS 256 /* that can be waited for; a power of two */

typedef struct marks {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *compute;
	/* guarded by the engine's lock: */
	ufm_event *events[PAGER_MARKS];   /* mark n was recorded with events[n % PAGER_MARKS] */
	ufm_stream *streams[PAGER_MARKS]; /* and on this stream */
	uint64_t next;                    /* number, from 1 */
	uint64_t passed;                  /* marks of the compute stream up to here have passed */
} marks;

/* What stays the same is set. */
ufm_status marks_open(marks *m);
void marks_close(marks *m);
/* A point after all work enqueued on `stream` so far. */
ufm_status mark_record(marks *m, ufm_stream *stream, uint64_t *mark);
/* Whether the mark, 0 for none, was ever given. */
bool mark_known(const marks *m, uint64_t mark);
/* Whether no other was given since. */
bool mark_is_last(const marks *m, uint64_t mark);
/* Whoever has waited for a mark, or asked, tells it. */
void mark_seen(marks *m, uint64_t mark);
/* What to wait for; NULL: the mark is done. */
ufm_event *mark_event(const marks *m, uint64_t mark);
bool mark_pending(marks *m, uint64_t mark);
/* Work enqueued on `stream` from now on comes after the mark. */
ufm_status mark_order(const marks *m, ufm_stream *stream, uint64_t mark);
/* The host waits. */
ufm_status mark_wait(marks *m, uint64_t mark);

#endif
