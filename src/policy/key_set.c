/* SPDX-License-Identifier: MIT */
/* The inserted keys in no order. */
#include "policy/key_set.h"

#include <assert.h>

#include "base/alloc.h"

ufm_status key_set_init(key_set *set, uint32_t capacity, uint32_t keys)
{
	set->count = 0;
	set->capacity = capacity;
	set->members = alloc_zeroed(capacity, sizeof *set->members);
	set->index = alloc_zeroed(keys, sizeof *set->index);
	if (set->members && set->index)
		return UFM_OK;
	key_set_free(set);
	return UFM_ENOMEM;
}

void key_set_free(key_set *set)
{
	alloc_free(set->members);
	alloc_free(set->index);
	*set = (key_set){0};
}

void key_set_add(key_set *set, uint32_t key)
{
	assert(set->count < set->capacity);
	set->index[key] = set->count;
	set->members[set->count++] = key;
}

void key_set_drop(key_set *set, uint32_t key)
{
	uint32_t index = set->index[key];
	uint32_t last = set->members[--set->count];

	assert(index <= set->count && set->members[index] == key);
	set->members[index] = last;
	set->index[last] = index;
}
