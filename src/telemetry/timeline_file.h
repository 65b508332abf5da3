/* SPDX-License-Identifier: MIT */
/* Timelines as a Chrome trace (JSON), which chrome://tracing and Perfetto draw. */
#ifndef UFM_TELEMETRY_TIMELINE_FILE_H
#define UFM_TELEMETRY_TIMELINE_FILE_H

#include "telemetry/timeline.h"

typedef struct timeline_file timeline_file;

/* Creates the file, or empties it: a whole trace without spans. UFM_EFILE names path and cause; what
 * is no regular file is refused, because it cannot be continued. */
ufm_status timeline_file_open(const char *path, timeline_file **out);

/* Appends a timeline as a process of its own. `name` has no quotes or backslashes. The file is a whole
 * trace again on return. Times count from the first timeline's opening. Spans of one track that overlap
 * without one lying in the other get rows of their own ("cpu 2"); a begin that lies less than a
 * microsecond before the end of its neighbour, as device clocks have it, is moved there.
 * UFM_EFILE, UFM_ENOMEM. */
ufm_status timeline_file_add(timeline_file *f, timeline *t, const char *name);

/* UFM_EFILE when the last bytes could not be written. NULL is allowed. */
ufm_status timeline_file_close(timeline_file *f);

#endif
