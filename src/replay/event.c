/* SPDX-License-Identifier: MIT */
/* An event as research counts it, without a ring. */
#include "replay/event.h"

#include <assert.h>

#include "base/alloc.h"

ufm_status event_scratch_open(uint32_t members_max, uint32_t experts, event_scratch *out)
{
	out->missing = alloc_zeroed(members_max, sizeof *out->missing);
	out->demands = alloc_zeroed(members_max, sizeof *out->demands);
	out->slots = alloc_zeroed(experts, sizeof *out->slots);
	if (out->missing && out->demands && out->slots)
		return UFM_OK;
	event_scratch_close(out);
	return UFM_ENOMEM;
}

void event_scratch_close(event_scratch *s)
{
	alloc_free(s->missing);
	alloc_free(s->demands);
	alloc_free(s->slots);
	*s = (event_scratch){0};
}

uint32_t event_run(cache *c, uint32_t layer, uint32_t first, const cache_member *members,
                   uint32_t n, event_scratch *scratch)
{
	uint32_t misses = 0;

	cache_event_begin(c, layer, members, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t key = first + members[i].expert;

		if (cache_find(c, key) == SLOT_NONE)
			scratch->missing[misses++] = key;
	}
	for (uint32_t i = 0; i < misses; i++) {
		cache_placement place;
		ufm_status status = cache_place(c, scratch->missing[i], &place);

		assert(status == UFM_OK);
		(void)status;
		if (place.slot != SLOT_NONE)
			cache_loaded(c, place.slot, place.generation);
	}
	cache_event_end(c, layer, members, n);
	return n - misses;
}
