/* SPDX-License-Identifier: MIT */
/* Timelines as a Chrome trace (JSON), which chrome://tracing and Perfetto draw. */
#ifndef UFM_TELEMETRY_TIMELINE_FILE_H
#define UFM_TELEMETRY_TIMELINE_FILE_H

#include "telemetry/timeline.h"

typedef struct timeline_file timeline_file;

/* A trace without spans, which takes the path's place when it is closed. UFM_EFILE names path and cause; what is no
 * regular file is refused, because it cannot be continued. */
ufm_status timeline_file_open(const char *path, timeline_file **out);
/* Its name until then. */
const char *timeline_file_unfinished(const timeline_file *f);

/* Appends a timeline as a process of its own. `name` has no quotes or backslashes. Times count from the first timeline's opening. Spans of one track that overlap
 * without one lying in the other get rows of their own ("cpu 2"); a begin that lies less than a
 * microsecond before the end of its neighbour, as device clocks have it, is moved there.
 * UFM_EFILE, UFM_ENOMEM. */
ufm_status timeline_file_add(timeline_file *f, timeline *t, const char *name);

/* UFM_EFILE: it could not be written. Then, and after a failed timeline_file_add, the path stays as it was. NULL is
 * allowed. */
ufm_status timeline_file_close(timeline_file *f);

#endif
