/* SPDX-License-Identifier: MIT */
/* Copies of experts to the device, kept in a ring of records until they have ended. */
#ifndef UFM_PAGER_LOADS_H
#define UFM_PAGER_LOADS_H

#include "cache/cache.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "pager/slab.h"
#include "pager/spans.h"
#include "pager/tables.h"
#include "schedule/admit.h"

#define PAGER_LOADS 64 /* copies in flight at most; a power of two */

/* An expert on its way into a slot. */
typedef struct load_item {
	uint32_t slot, generation, key;
} load_item;

/* One copy of one or more experts. `wait` is recorded on the compute stream just before it waits
 * for `end`, so that the time between them is the stall. */
typedef struct load {
	uint64_t number; /* 0: never used */
	bool waited;
	uint64_t after; /* every mark of the compute stream from here on comes after that wait */
	uint32_t count;
	load_item items[BUDGET_TOGETHER];
	ufm_event *begin, *end, *wait;
} load;

typedef struct loads {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *copy;
	const ufm_host *host;
	cache *cache;
	marks *marks;
	slab *slab;
	tables *tables;
	spans *spans;
	counters *counters;
	uint32_t experts; /* of a layer */
	uint64_t expert_bytes;
	/* guarded by the engine's lock: */
	load ring[PAGER_LOADS];
	uint64_t next, oldest;  /* numbers, from 1 */
	uint64_t copy_ns;       /* of one expert, lately */
	uint64_t busy_until_ns; /* when the copies in flight should have ended */
} loads;

/* The part that stays the same is set. */
ufm_status loads_open(loads *l);
void loads_close(loads *l);
/* Retires every copy that has ended, without waiting. */
void loads_step(loads *l);
/* The end of the oldest copy in flight that the compute stream waits for, or NULL. */
ufm_event *loads_awaited(loads *l);
/* Waits for every copy in flight and retires it. */
ufm_status loads_drain(loads *l);
/* Whether the bytes of a copy have arrived. */
ufm_status loads_has_ended(loads *l, uint64_t number, bool *out);
/* Enqueues the copy of `key` into the slot of a placement. On failure the slot is free again. */
ufm_status loads_start(loads *l, uint32_t key, const cache_placement *place);
/* Starts one copy into n slots (n <= BUDGET_TOGETHER) whose tenants wait for theirs. On failure these slots are
 * free again. */
ufm_status loads_fill(loads *l, const uint32_t *slots, uint32_t n);
/* Gives a key a slot as if a copy followed. UFM_EBUSY. */
ufm_status loads_label(loads *l, admit_turn *turn, uint32_t key, cache_placement *place);
/* Until the copies in flight should have ended; 0: none is. */
uint64_t loads_busy_ns(loads *l);
/* Gives up to n keys (n <= BUDGET_TOGETHER) a slot each, or takes that in which a key waits for its copy, pins
 * the slots and starts one copy into all of them. *count: how many got one, in order: fewer than n when then
 * every slot is pinned. UFM_EBUSY: none did. */
ufm_status loads_place(loads *l, admit_turn *turn, const uint32_t *keys, uint32_t n,
                       uint32_t *slots, uint32_t *count);
/* Orders `stream` after the slot's bytes; `measure`: it is the compute stream, whose stall counts. */
ufm_status loads_order(loads *l, uint32_t slot, ufm_stream *stream, bool measure);

#endif
