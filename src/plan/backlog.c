/* SPDX-License-Identifier: MIT */
/* A short list: admission sees to it that little is owed. */
#include "plan/backlog.h"

#include <string.h>

#include "base/alloc.h"

ufm_status backlog_open(uint32_t keys, backlog *b)
{
	b->keys = alloc_zeroed(keys, sizeof *b->keys);
	b->waits = alloc_zeroed(keys, sizeof *b->waits);
	return b->keys && b->waits ? UFM_OK : UFM_ENOMEM;
}

void backlog_close(backlog *b)
{
	alloc_free(b->keys);
	alloc_free(b->waits);
}

void backlog_add(backlog *b, uint32_t key)
{
	if (b->waits[key])
		return;
	b->waits[key] = true;
	b->keys[b->count++] = key;
}

static void keep_waiting(backlog *b)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < b->count; i++)
		if (b->waits[b->keys[i]])
			b->keys[kept++] = b->keys[i];
	b->count = kept;
}

void backlog_remove(backlog *b, uint32_t key)
{
	if (!b->waits[key])
		return;
	b->waits[key] = false;
	keep_waiting(b);
}

void backlog_drop_evicted(backlog *b, const cache *c)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (cache_find(c, b->keys[i]) == SLOT_NONE)
			b->waits[b->keys[i]] = false;
	keep_waiting(b);
}

void backlog_start(backlog *b, uint32_t n)
{
	for (uint32_t i = 0; i < n && i < b->count; i++)
		b->waits[b->keys[i]] = false;
	keep_waiting(b);
}
