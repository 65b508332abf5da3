/* SPDX-License-Identifier: MIT */
/* --timeline: what every command that runs layers does with it. */
#include "cli/modes/timeline.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/status.h"
#include "cli/interrupt.h"
#include "cli/message.h"
#include "pager/pager.h"

ufm_status mode_timeline_open(const char *path, timeline_file **out)
{
	*out = NULL;
	if (!path)
		return UFM_OK;
	ufm_status status = timeline_file_open(path, out);
	if (status)
		return status_prefix(status, "--timeline");
	interrupt_unfinished(timeline_file_unfinished(*out));
	return UFM_OK;
}

ufm_status mode_timeline_add(timeline_file *f, ufm_engine *engine, const char *name)
{
	timeline *t = engine ? engine_timeline(engine) : NULL;
	if (!f || !t)
		return UFM_OK;
	/* A failure of the device is in the run's outcome; what is known is written all the same. */
	(void)engine_settle(engine);
	uint64_t dropped = timeline_dropped(t);
	if (dropped) {
		message_note(NULL, "--timeline: %s: %" PRIu64 " earlier events were dropped", name,
		             dropped);
	}
	ufm_status status = timeline_file_add(f, t, name);
	return status ? status_prefix(status, "--timeline") : UFM_OK;
}

ufm_status mode_timeline_close(timeline_file *f)
{
	ufm_status status = timeline_file_close(f);
	return status ? status_prefix(status, "--timeline") : UFM_OK;
}
