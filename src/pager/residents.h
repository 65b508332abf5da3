/* SPDX-License-Identifier: MIT */
/*
 * Layers whose every expert is in a slot: where their blocks lie is on the device, so a call needs
 * no ids on the host. Who was used is read when the call's mark has passed; the policy hears of
 * events in the order of their calls all the same, because a call that decides on the host settles
 * them first.
 *
 * A call pins no slot. Instead the engine's lock is held while it is enqueued, and whoever refills
 * a slot of such a layer comes after the layer's last mark (table_forget).
 */
#ifndef UFM_PAGER_RESIDENTS_H
#define UFM_PAGER_RESIDENTS_H

#include <stdatomic.h>

#include "budget/budget.h"
#include "cache/cache.h"
#include "pager/calls.h"
#include "pager/loads.h"
#include "pager/tables.h"
#include "telemetry/routing.h"

typedef struct residents {
	/* the same from open to close: */
	cache *cache;
	marks *marks;
	slab *slab;
	tables *tables;
	loads *loads;
	calls *calls;
	counters *counters;
	routing *routing;   /* NULL: not recorded; has a lock of its own */
	const budget *plan; /* what changes of it is guarded by the engine's lock */
	uint32_t layers, experts;
	/* guarded by the engine's lock: */
	cache_member *members; /* [experts], scratch */
	uint32_t *heard;       /* [layers]: calls whose uses were read */
	/* written under the engine's lock, read without: */
	_Atomic bool unread; /* some call has ids to be counted */
} residents;

/* The part that stays the same is set. UFM_ENOMEM. */
ufm_status residents_open(residents *r);
void residents_close(residents *r);
/* pager_resident_begin and the end of a call that did not fail. *blocks stays as it is where the
 * layer is not wholly resident. The layer lock is held, too. */
ufm_status residents_begin(residents *r, uint32_t layer, ufm_stream *stream, ufm_devptr *blocks);
ufm_status residents_end(residents *r, uint32_t layer, ufm_stream *stream, pager_call *call,
                         uint64_t assignments);
/* Counts the uses of every call whose mark has passed, and tells the policy; or of all, waiting. */
void residents_harvest(residents *r);
ufm_status residents_settle(residents *r);

#endif
