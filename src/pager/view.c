/* SPDX-License-Identifier: MIT */
/* A look at an engine's slots, for probes at rest and for who waits until they are filled. */
#include "pager/pager_int.h"
#include "pager/settle.h"

ufm_status pager_rest(ufm_engine *e, pager_events *events)
{
	lock_take(&e->lock);
	ufm_status status = settle_rest(e);
	lock_drop(&e->lock);
	if (status == UFM_OK)
		status = e->b->stream_sync(e->copy);
	if (status == UFM_OK)
		status = e->b->stream_sync(e->compute);
	if (status != UFM_OK)
		return status;
	/* Those of a copy's record: no copy is in flight, and a new event could take device memory. */
	*events = (pager_events){e->loads.ring[0].begin, e->loads.ring[0].end};
	return UFM_OK;
}

uint32_t pager_slots(ufm_engine *e)
{
	lock_take(&e->lock);
	uint32_t slots = e->plan.slots;
	lock_drop(&e->lock);
	return slots;
}

ufm_devptr pager_slot(ufm_engine *e, uint32_t slot, uint32_t *key)
{
	cache_slot view;
	lock_take(&e->lock);
	cache_get_slot(e->cache, slot, &view);
	lock_drop(&e->lock);
	*key = view.state == SLOT_READY ? view.key : UFM_KEY_NONE;
	return slot_address(&e->slab, slot);
}

void pager_get_filled(ufm_engine *e, pager_filled *out)
{
	cache_stats now;
	lock_take(&e->lock);
	cache_get_stats(e->cache, &now);
	lock_drop(&e->lock);
	*out = (pager_filled){now.loading + now.ready, now.free_places};
}
