/* SPDX-License-Identifier: MIT */
/* Tables on the device of where the experts of wholly resident layers lie, and until when work may
 * read what they list: whoever overwrites such an expert comes after that. */
#ifndef UFM_PAGER_TABLES_H
#define UFM_PAGER_TABLES_H

#include "pager/marks.h"
#include "pager/pinned.h"

typedef struct layer_table {
	bool listed;   /* every expert of the layer is in a slot, and the table says where */
	uint64_t mark; /* last work that may read the table or the experts that it lists */
} layer_table;

typedef struct tables {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_stream *copy;
	marks *marks;
	uint32_t layers, experts;
	ufm_devptr device; /* u64 [layers, experts] */
	/* guarded by the engine's lock: */
	layer_table *items; /* [layers]; NULL without the layer level */
	pinned staging;     /* what goes to the device */
	uint64_t last;      /* mark of the last call of any layer */
} tables;

/* The part that stays the same is set. UFM_ENOMEM. */
ufm_status tables_open(tables *t);
void tables_close(tables *t);
bool table_listed(const tables *t, uint32_t layer);
ufm_devptr table_address(const tables *t, uint32_t layer);
/* Where the addresses are written that table_upload copies: u64 [experts]. */
uint64_t *table_staging(const tables *t, uint32_t layer);
/* Waits until the staging memory may be written. */
ufm_status table_await(tables *t, uint32_t layer);
/* Enqueues the copy of the staging memory: the layer is listed. */
ufm_status table_upload(tables *t, uint32_t layer, ufm_stream *stream);
/* The layer's last call ends with the mark. */
void table_used(tables *t, uint32_t layer, uint64_t mark);
/* A key loses its slot: later work of the copy stream comes after the layer's last call. */
ufm_status table_forget(tables *t, uint32_t key);
/* Any slot may go: waits for the last call of every layer. */
ufm_status tables_forget_all(tables *t);
/* Waits for that, and forgets nothing. */
ufm_status tables_await(tables *t);

#endif
