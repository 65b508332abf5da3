/* SPDX-License-Identifier: MIT */
/* The lists of ring slots and of free main slots. */
#include "cache/cache_int.h"

void slot_list_append(cache *c, slot_list *list, uint32_t index)
{
	slot *s = slot_at(c, index);

	s->older = list->youngest;
	s->younger = SLOT_NONE;
	if (list->youngest == SLOT_NONE)
		list->oldest = index;
	else
		slot_at(c, list->youngest)->younger = index;
	list->youngest = index;
	list->count++;
}

void slot_list_prepend(cache *c, slot_list *list, uint32_t index)
{
	slot *s = slot_at(c, index);

	s->older = SLOT_NONE;
	s->younger = list->oldest;
	if (list->oldest == SLOT_NONE)
		list->youngest = index;
	else
		slot_at(c, list->oldest)->older = index;
	list->oldest = index;
	list->count++;
}

void slot_list_unlink(cache *c, slot_list *list, uint32_t index)
{
	slot *s = slot_at(c, index);

	if (s->older == SLOT_NONE)
		list->oldest = s->younger;
	else
		slot_at(c, s->older)->younger = s->younger;
	if (s->younger == SLOT_NONE)
		list->youngest = s->older;
	else
		slot_at(c, s->younger)->older = s->older;
	list->count--;
}

void slot_list_replace(cache *c, slot_list *list, uint32_t index, uint32_t other)
{
	slot *s = slot_at(c, index), *o = slot_at(c, other);

	o->older = s->older;
	o->younger = s->younger;
	if (s->older == SLOT_NONE)
		list->oldest = other;
	else
		slot_at(c, s->older)->younger = other;
	if (s->younger == SLOT_NONE)
		list->youngest = other;
	else
		slot_at(c, s->younger)->older = other;
}

void slot_list_empty_slots(cache *c)
{
	for (uint32_t i = c->slots_count; i-- > 0;) {
		cache_slot *view = &slot_at(c, i)->view;

		if (view->state != SLOT_FREE)
			continue;
		view->in_ring = c->ring.count < c->ring_slots;
		slot_list_prepend(c, view->in_ring ? &c->ring : &c->free_main, i);
	}
}
