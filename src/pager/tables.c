/* SPDX-License-Identifier: MIT */
/* The tables of block addresses. */
#include "pager/tables.h"

#include "base/alloc.h"

static uint64_t table_bytes(const tables *t)
{
	return 8ull * t->experts;
}

ufm_status tables_open(tables *t)
{
	t->items = alloc_zeroed(t->layers, sizeof *t->items);
	if (!t->items)
		return UFM_ENOMEM;
	return pinned_open(t->b, "the tables of block addresses", t->layers * table_bytes(t),
	                   &t->staging);
}

void tables_close(tables *t)
{
	pinned_close(t->b, &t->staging);
	alloc_free(t->items);
}

bool table_listed(const tables *t, uint32_t layer)
{
	return t->items[layer].listed;
}

ufm_devptr table_address(const tables *t, uint32_t layer)
{
	return t->device + layer * table_bytes(t);
}

uint64_t *table_staging(const tables *t, uint32_t layer)
{
	return (uint64_t *)(void *)t->staging.memory + (uint64_t)layer * t->experts;
}

ufm_status table_await(tables *t, uint32_t layer)
{
	return mark_wait(t->marks, t->items[layer].mark);
}

ufm_status table_upload(tables *t, uint32_t layer, ufm_stream *stream)
{
	ufm_devptr from = (ufm_devptr)(uintptr_t)table_staging(t, layer);
	ufm_status status =
		t->b->copy(stream, UFM_COPY_H2D, table_address(t, layer), from, table_bytes(t));
	if (status == UFM_OK)
		status = mark_record(t->marks, stream, &t->items[layer].mark);
	if (status == UFM_OK)
		t->items[layer].listed = true;
	return status;
}

void table_used(tables *t, uint32_t layer, uint64_t mark)
{
	t->items[layer].mark = t->last = mark;
}

ufm_status table_forget(tables *t, uint32_t key)
{
	layer_table *table = t->items ? &t->items[key / t->experts] : NULL;
	if (!table || !table->listed)
		return UFM_OK;
	table->listed = false;
	return mark_order(t->marks, t->copy, table->mark);
}

ufm_status tables_forget_all(tables *t)
{
	for (uint32_t i = 0; t->items && i < t->layers; i++)
		t->items[i].listed = false;
	return tables_await(t);
}

ufm_status tables_await(tables *t)
{
	return mark_wait(t->marks, t->last);
}
