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
