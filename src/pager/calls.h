/* SPDX-License-Identifier: MIT */
/* Host buffers of layer calls, page-locked, used in turn so that the next call can be prepared
 * while copies of the last one are still being read; and whose turn the workspace is. */
#ifndef UFM_PAGER_CALLS_H
#define UFM_PAGER_CALLS_H

#include "pager/marks.h"
#include "pager/pager.h"
#include "pager/pinned.h"

#define PAGER_CALLS 4

typedef struct calls {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_device *device;
	marks *marks;
	uint32_t experts; /* of a layer */
	pinned memory[PAGER_CALLS];
	/* guarded by the layer lock, but for what pager_call says: */
	pager_call items[PAGER_CALLS];
	uint32_t next;
	ufm_stream *ws_stream; /* of the call that used the workspace last, which ends with ws_mark */
	uint64_t ws_mark;
} calls;

/* b, device, marks, experts are set. assignments: of the longest call; piece_rows: as in
 * workspace. UFM_ENOMEM. */
ufm_status calls_open(calls *c, uint64_t assignments, uint32_t piece_rows);
void calls_close(calls *c);
/* Work on `stream` from now on may use the workspace: it comes after the call before. Both locks
 * are held. */
ufm_status workspace_order(const calls *c, ufm_stream *stream);
/* The call that used it last ends with the mark. The layer lock is held. */
void workspace_used(calls *c, ufm_stream *stream, uint64_t mark);

#endif
