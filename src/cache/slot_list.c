/* SPDX-License-Identifier: MIT */
/* The lists of ring slots and of free main slots. */
#include "cache/cache_int.h"

/* Where it is written who follows `older`: in the list, of its oldest, where that is none. */
static uint32_t *after(cache *c, slot_list *list, uint32_t older)
{
	return older == SLOT_NONE ? &list->oldest : &slot_at(c, older)->younger;
}

static uint32_t *before(cache *c, slot_list *list, uint32_t younger)
{
	return younger == SLOT_NONE ? &list->youngest : &slot_at(c, younger)->older;
}

/* Between two neighbours. */
static void place(cache *c, slot_list *list, uint32_t index, uint32_t older, uint32_t younger)
{
	slot_at(c, index)->older = older;
	slot_at(c, index)->younger = younger;
	*after(c, list, older) = *before(c, list, younger) = index;
}

void slot_list_append(cache *c, slot_list *list, uint32_t index)
{
	place(c, list, index, list->youngest, SLOT_NONE);
	list->count++;
}

void slot_list_prepend(cache *c, slot_list *list, uint32_t index)
{
	place(c, list, index, SLOT_NONE, list->oldest);
	list->count++;
}

void slot_list_unlink(cache *c, slot_list *list, uint32_t index)
{
	const slot *s = slot_at(c, index);

	*after(c, list, s->older) = s->younger;
	*before(c, list, s->younger) = s->older;
	list->count--;
}

void slot_list_replace(cache *c, slot_list *list, uint32_t index, uint32_t other)
{
	const slot *s = slot_at(c, index);

	place(c, list, other, s->older, s->younger);
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
