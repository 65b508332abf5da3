/* SPDX-License-Identifier: MIT */
/* The engine's insides, for the files of this folder. */
#ifndef UFM_PAGER_PAGER_INT_H
#define UFM_PAGER_PAGER_INT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/lock.h"
#include "cache/cache.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "pager/pinned.h"

#define PAGER_LOADS 64  /* copies in flight at most; a power of two */
#define PAGER_MARKS 256 /* marks that can be waited for; a power of two */
#define PAGER_CALLS 4
#define PAGER_LEASES 64
#define PAGER_ALIGN 256u

/* One copy of an expert into a slot. `wait` is recorded on the compute stream just before it waits
 * for `end`, so that the time between them is the stall. */
typedef struct load {
	uint64_t number; /* 0: never used */
	bool live, waited;
	uint32_t slot, generation;
	ufm_event *begin, *end, *wait;
} load;

typedef struct slot_use {
	uint64_t mark; /* last use; 0: none pending */
	ufm_stream *stream;
	uint64_t load; /* number of the copy that may not have arrived; 0: it has */
} slot_use;

struct ufm_lease {
	ufm_engine *engine;
	bool taken;
	uint32_t n;
	uint32_t *slots; /* [lease_max] */
};

/* Where everything lies in device memory, computed before anything is allocated. */
typedef struct budget {
	uint64_t slab_bytes, workspace_bytes, arena_bytes, total_bytes;
	uint32_t slots, ring;
} budget;

struct ufm_engine {
	ufm_host *host;
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *compute, *copy;
	ufm_engine_config config; /* defaults resolved */
	ufm_device_info device_info;
	uint64_t free_at_open_bytes;
	uint64_t target_bytes; /* vram_target, or all that can be had */
	ufm_expert_desc desc;
	uint32_t layers, experts;
	budget plan;

	ufm_devptr base; /* slab, then workspace, then arena */
	uint64_t reserved_bytes, mapped_bytes;
	uint64_t arena_used_bytes;         /* guarded by lock */
	_Atomic uint64_t arena_live_bytes; /* the same, for readers without it */
	pager_workspace ws;
	pinned host_table, host_tokens; /* of calls longer than max_tokens */
	pager_call calls[PAGER_CALLS];
	pinned call_memory[PAGER_CALLS];
	uint32_t call_next;

	lock layer_lock; /* one layer call at a time */
	lock lock;       /* guards everything below */
	cache *cache;
	slot_use *uses; /* [slots] */
	load loads[PAGER_LOADS];
	uint64_t load_next, load_oldest; /* numbers, from 1 */
	ufm_event *marks[PAGER_MARKS];
	uint64_t mark_next;
	cache_member *members;       /* [experts], of the layer call */
	cache_member *lease_members; /* [experts] */
	uint8_t *seen;               /* [experts], scratch */
	uint32_t *held;              /* [experts]: slot pinned for the layer call, or SLOT_NONE */
	uint32_t layer, member_count;
	uint64_t accounted; /* uses of the layer call that got a path */
	ufm_lease leases[PAGER_LEASES];
	uint32_t leased; /* experts in leases */
	_Atomic uint32_t slots_used, slots_high_water;
	counters counters;
};

/* budget.c */
/* The target asked for, or all that the device can give now. */
uint64_t budget_target(const ufm_engine *e);
ufm_status budget_plan(const ufm_engine *e, budget *out);
/* Gives every workspace buffer its address from `base`, or only measures with base 0; returns the
 * bytes. */
uint64_t budget_workspace(const ufm_engine *e, ufm_devptr base, pager_workspace *ws);

/* calls.c */
ufm_status calls_open(ufm_engine *e);
void calls_close(ufm_engine *e);

/* marks.c; the engine's lock is held */
ufm_status marks_open(ufm_engine *e);
void marks_close(ufm_engine *e);
ufm_status mark_record(ufm_engine *e, ufm_stream *stream, uint64_t *mark);
bool mark_pending(const ufm_engine *e, uint64_t mark);
ufm_status mark_order(ufm_engine *e, ufm_stream *stream, uint64_t mark);

/* loads.c; the engine's lock is held */
ufm_status loads_open(ufm_engine *e);
void loads_close(ufm_engine *e);
/* Retires every copy that has ended, without waiting. */
void loads_step(ufm_engine *e);
/* Enqueues the copy of `key` into the slot of a placement. On failure the slot is free again. */
ufm_status loads_start(ufm_engine *e, uint32_t key, const cache_placement *place);
/* Gives `key` a slot, starts its copy, pins the slot. UFM_EBUSY: every slot is pinned. */
ufm_status loads_place(ufm_engine *e, uint32_t key, uint32_t *slot);
/* Orders `stream` after the slot's bytes; `measure`: it is the compute stream and its stall counts. */
ufm_status loads_order(ufm_engine *e, uint32_t slot, ufm_stream *stream, bool measure);

/* slots.c; the engine's lock is held */
ufm_devptr slot_address(const ufm_engine *e, uint32_t slot);
/* The work on `stream` so far is the last use of these slots: unpins them. */
ufm_status slots_used_by(ufm_engine *e, ufm_stream *stream, const uint32_t *slots, uint32_t n);
/* Publishes the number of slots in use. */
void slots_publish(ufm_engine *e);

/* lease.c */
ufm_status leases_open(ufm_engine *e);
void leases_close(ufm_engine *e);

#endif
