/* SPDX-License-Identifier: MIT */
/* Marks: numbered points in streams, a window of which can be waited for. A mark that has left the
 * window is known to be done, because its event was waited for before it was reused. */
#ifndef UFM_PAGER_MARKS_H
#define UFM_PAGER_MARKS_H

#include <stdbool.h>
#include <ufm/backend.h>

#define PAGER_MARKS 256 /* that can be waited for; a power of two */

typedef struct marks {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_device *device;
	/* guarded by the engine's lock: */
	ufm_event *events[PAGER_MARKS]; /* mark n was recorded with events[n % PAGER_MARKS] */
	uint64_t next;                  /* number, from 1 */
} marks;

/* b and device are set. */
ufm_status marks_open(marks *m);
void marks_close(marks *m);
/* A point after all work enqueued on `stream` so far. */
ufm_status mark_record(marks *m, ufm_stream *stream, uint64_t *mark);
/* Whether the mark, 0 for none, was ever given. */
bool mark_known(const marks *m, uint64_t mark);
/* Whether no other was given since. */
bool mark_is_last(const marks *m, uint64_t mark);
/* What to wait for; NULL: the mark is done. */
ufm_event *mark_event(const marks *m, uint64_t mark);
bool mark_pending(const marks *m, uint64_t mark);
/* Work enqueued on `stream` from now on comes after the mark. */
ufm_status mark_order(const marks *m, ufm_stream *stream, uint64_t mark);
/* The host waits. */
ufm_status mark_wait(const marks *m, uint64_t mark);

#endif
