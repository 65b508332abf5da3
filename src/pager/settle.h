/* SPDX-License-Identifier: MIT */
/* What has ended: copies are retired, uses of resident calls counted, spans put on the timeline.
 * The one place that knows all who must hear of it. The engine's lock is held where nothing else is
 * said. */
#ifndef UFM_PAGER_SETTLE_H
#define UFM_PAGER_SETTLE_H

#include <ufm/ufm.h>

/* Before a layer call decides who is resident: copies that have ended; then the uses of every call
 * before it, waiting. */
ufm_status settle_before(ufm_engine *e);
/* Before a call's buffers serve another: waits for its mark, and reads who used residents. No lock is held. */
ufm_status settle_call(ufm_engine *e, uint64_t mark);
/* Waits for every copy, and for every call of a resident layer. */
ufm_status settle_rest(ufm_engine *e);
/* Waits for every call of a resident layer and counts its uses. No lock is held. */
ufm_status settle_uses(ufm_engine *e);
/* Counts the uses of calls that have ended, so that counters can be read. No lock is held; it is
 * taken only when there are some to be counted: not while experts are copied for a layer. */
void settle_counters(ufm_engine *e);

#endif
