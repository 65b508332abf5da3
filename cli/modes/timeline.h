/* SPDX-License-Identifier: MIT */
/* --timeline: what every command that runs layers does with it. */
#ifndef CLI_MODES_TIMELINE_H
#define CLI_MODES_TIMELINE_H

#include "telemetry/timeline_file.h"

/* Spans that an engine keeps for the file: the latest. */
#define MODE_TIMELINE_EVENTS (1u << 18)

/* Before the work. path NULL: none is asked for, *out is NULL. UFM_EFILE names --timeline. */
ufm_status mode_timeline_open(const char *path, timeline_file **out);

/* While the engine is open; waits for it. What was dropped is said on standard error. f NULL: nothing. */
ufm_status mode_timeline_add(timeline_file *f, ufm_engine *engine, const char *name);

/* UFM_EFILE names --timeline. f NULL: nothing. */
ufm_status mode_timeline_close(timeline_file *f);

#endif
