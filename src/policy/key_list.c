/* SPDX-License-Identifier: MIT */
/* An ordered list of keys. */
#include "policy/key_list.h"

#include <assert.h>

#include "base/alloc.h"

ufm_status key_list_init(key_list *list, uint32_t keys)
{
	list->oldest = list->youngest = UFM_KEY_NONE;
	list->count = 0;
	list->older = alloc_zeroed(keys, sizeof *list->older);
	list->younger = alloc_zeroed(keys, sizeof *list->younger);
	list->linked = alloc_zeroed(keys, sizeof *list->linked);
	if (list->older && list->younger && list->linked)
		return UFM_OK;
	key_list_free(list);
	return UFM_ENOMEM;
}

void key_list_free(key_list *list)
{
	alloc_free(list->older);
	alloc_free(list->younger);
	alloc_free(list->linked);
	*list = (key_list){0};
}

void key_list_append(key_list *list, uint32_t key)
{
	assert(!list->linked[key]);
	list->older[key] = list->youngest;
	list->younger[key] = UFM_KEY_NONE;
	if (list->youngest == UFM_KEY_NONE)
		list->oldest = key;
	else
		list->younger[list->youngest] = key;
	list->youngest = key;
	list->linked[key] = 1;
	list->count++;
}

void key_list_unlink(key_list *list, uint32_t key)
{
	uint32_t older = list->older[key], younger = list->younger[key];

	assert(list->linked[key]);
	if (older == UFM_KEY_NONE)
		list->oldest = younger;
	else
		list->younger[older] = younger;
	if (younger == UFM_KEY_NONE)
		list->youngest = older;
	else
		list->older[younger] = older;
	list->linked[key] = 0;
	list->count--;
}
