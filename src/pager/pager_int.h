/* SPDX-License-Identifier: MIT */
/* The engine's insides, for the files of this folder. */
#ifndef UFM_PAGER_PAGER_INT_H
#define UFM_PAGER_PAGER_INT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/lock.h"
#include "cache/cache.h"
#include "pager/budget.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "pager/pinned.h"
#include "telemetry/routing.h"

#define PAGER_LOADS 64  /* copies in flight at most; a power of two */
#define PAGER_MARKS 256 /* marks that can be waited for; a power of two */
#define PAGER_CALLS 4
#define PAGER_WATCHED 2 /* copies of a layer call that it can ask for */
#define PAGER_LEASES 64

/* An expert on its way into a slot. */
typedef struct load_item {
	uint32_t slot, generation, key;
} load_item;

/* One copy of one or more experts. `wait` is recorded on the compute stream just before it waits for
 * `end`, so that the time between them is the stall. */
typedef struct load {
	uint64_t number; /* 0: never used */
	bool waited;
	uint32_t count;
	load_item items[PAGER_TOGETHER];
	ufm_event *begin, *end, *wait;
} load;

typedef struct slot_use {
	uint64_t mark; /* last use; 0: none pending */
	ufm_stream *stream;
	uint64_t load; /* number of the copy that may not have arrived; 0: it has */
} slot_use;

/* A layer whose every expert was in a slot when the device got the table of their addresses. */
typedef struct resident_layer {
	bool listed;    /* the table holds */
	uint64_t mark;  /* last work that may read the table or the experts that it lists */
	uint32_t calls; /* whose uses were read */
} resident_layer;

struct ufm_lease {
	ufm_engine *engine;
	bool taken;
	uint32_t n;
	uint32_t *slots; /* [experts] */
};

/* Work of the compute stream that may not have ended. */
#define PAGER_LAYER_SPANS 64
#define PAGER_WORK_SPANS 192
struct pager_work {
	timeline_span span;
	ufm_event *begin, *end;
	bool ended, lost; /* `end` is recorded; or cannot be */
};
typedef struct work_ring {
	struct pager_work *items;
	uint32_t room;
	uint64_t next, oldest; /* numbers; n lies at n % room */
} work_ring;

/* Device work on the host's clock; without a timeline all is zero. */
typedef struct span_log {
	timeline *timeline;
	/* A layer's span begins before and ends after the spans of its parts, so it has a ring of its own. */
	work_ring layers, parts;
	struct pager_work items[PAGER_LAYER_SPANS + PAGER_WORK_SPANS];
	/* Passed events whose time is known; the others are measured from the current one. */
	ufm_event *anchors[2];
	uint32_t anchor;
	uint64_t anchor_ns;
} span_log;

struct ufm_engine {
	ufm_host *host;
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *compute, *copy;
	ufm_engine_config config; /* defaults resolved */
	ufm_device_info device_info;
	uint64_t free_at_open_bytes;
	ufm_expert_desc desc;
	uint32_t layers, experts;
	uint32_t slots_max; /* the engine may ever have; room is reserved for them */
	budget plan;        /* what changes of it is guarded by lock */

	/* One reserved range: what never changes its size, then the slab. The first mapped_bytes of it
	 * are backed by memory. */
	ufm_devptr base, slab;
	uint64_t reserved_bytes, mapped_bytes;
	uint64_t arena_used_bytes;         /* guarded by lock */
	_Atomic uint64_t arena_live_bytes; /* the same, for readers without it */
	pager_workspace ws;
	pinned host_table, host_tokens; /* of calls longer than max_tokens */
	pager_call calls[PAGER_CALLS];
	pinned call_memory[PAGER_CALLS];
	uint32_t call_next;
	pager_cpu cpu;
	pinned cpu_x, cpu_y;
	assist_figures rates;
	char cpu_why[192]; /* "on", "off", "off: ..." */

	ufm_stream *ws_stream; /* of the call that used the workspace last, which ends with ws_mark; */
	uint64_t ws_mark;      /* guarded by layer_lock */

	lock layer_lock; /* one layer call at a time */
	lock lock;       /* guards everything below */
	cache *cache;
	slot_use *uses; /* [slots_max] */
	load loads[PAGER_LOADS];
	uint64_t load_next, load_oldest; /* numbers, from 1 */
	ufm_event *marks[PAGER_MARKS];
	uint64_t mark_next;
	cache_member *members;       /* [experts], of the layer call */
	cache_member *lease_members; /* [experts] */
	uint8_t *seen;               /* [experts], scratch */
	uint32_t *held;              /* [experts]: slot pinned for the layer call, or SLOT_NONE */
	uint32_t layer, member_count;
	uint64_t layer_loads[PAGER_WATCHED]; /* the latest copies of the layer call; 0: none */
	uint32_t layer_load_next;
	uint64_t accounted;             /* uses of the layer call that got a path */
	ufm_lease leases[PAGER_LEASES]; /* of one layer's experts each */
	uint32_t leased;                /* experts in leases */
	resident_layer *residents;      /* [layers]; NULL without max_tokens */
	pinned block_table;             /* what goes to ws.blocks */
	uint64_t resident_mark;         /* the last of all layers' marks */
	ufm_stream *resident_stream;    /* of the resident call that is being enqueued, or NULL; guarded
	                                 * by layer_lock */
	_Atomic bool unread; /* some call has ids to be counted; for readers without the lock */
	uint64_t copy_ns;    /* of one expert, lately */
	span_log spans;
	routing *routing; /* NULL: not recorded; has a lock of its own */
	_Atomic uint32_t slots_used, slots_high_water;
	counters counters;
};

/* engine.c */
/* What the engine's budget is divided by. */
budget_terms engine_terms(const ufm_engine *e);

/* calls.c */
ufm_status calls_open(ufm_engine *e);
void calls_close(ufm_engine *e);
/* Work on `stream` from now on may use the workspace: it comes after the call before. The engine's lock
 * is held. */
ufm_status workspace_order(ufm_engine *e, ufm_stream *stream);
/* The call that used it last ends with the mark. */
void workspace_used(ufm_engine *e, ufm_stream *stream, uint64_t mark);

/* cpu_path.c */
/* Threads, buffers and the decision of auto. After everything else is open. */
ufm_status cpu_path_open(ufm_engine *e);
void cpu_path_close(ufm_engine *e);
ufm_status cpu_path_check(const ufm_engine_config *c);

/* marks.c; the engine's lock is held */
ufm_status marks_open(ufm_engine *e);
void marks_close(ufm_engine *e);
ufm_status mark_record(ufm_engine *e, ufm_stream *stream, uint64_t *mark);
bool mark_pending(const ufm_engine *e, uint64_t mark);
ufm_status mark_order(ufm_engine *e, ufm_stream *stream, uint64_t mark);
/* The host waits. */
ufm_status mark_wait(ufm_engine *e, uint64_t mark);

/* loads.c; the engine's lock is held */
ufm_status loads_open(ufm_engine *e);
void loads_close(ufm_engine *e);
/* Retires every copy that has ended, without waiting. */
void loads_step(ufm_engine *e);
/* The end of the oldest copy in flight that the compute stream waits for, or NULL. */
ufm_event *loads_awaited(ufm_engine *e);
/* Waits for every copy in flight and retires it. */
ufm_status loads_drain(ufm_engine *e);
/* Whether the bytes of a copy have arrived. */
ufm_status loads_has_ended(ufm_engine *e, uint64_t number, bool *out);
/* Enqueues the copy of n blocks alone: no slot changes hands. */
ufm_status loads_copy(ufm_engine *e, const ufm_devptr *to, const ufm_devptr *from, uint32_t n);
/* Enqueues the copy of `key` into the slot of a placement. On failure the slot is free again. */
ufm_status loads_start(ufm_engine *e, uint32_t key, const cache_placement *place);
/* Gives up to n keys (n <= PAGER_TOGETHER) a slot each, pins the slots and starts one copy into all of them.
 * *count: how many got one, in order: fewer than n when then every slot is pinned. UFM_EBUSY: none did. */
ufm_status loads_place(ufm_engine *e, const uint32_t *keys, uint32_t n, uint32_t *slots,
                       uint32_t *count);
/* Orders `stream` after the slot's bytes; `measure`: it is the compute stream and its stall counts. */
ufm_status loads_order(ufm_engine *e, uint32_t slot, ufm_stream *stream, bool measure);

/* record.c */
ufm_status record_check(const ufm_engine_config *c);
ufm_status record_open(ufm_engine *e);
void record_close(ufm_engine *e);

/* spans.c; the engine's lock is held, but for open and close */
ufm_status spans_open(ufm_engine *e);
void spans_close(ufm_engine *e);
/* Retires what has ended; measures the clocks anew when they were not for a while and the compute stream
 * has nothing after `mark`. */
void spans_step(ufm_engine *e, uint64_t mark);
/* A copy that has ended. */
void spans_load(ufm_engine *e, const load *l);

/* slots.c; the engine's lock is held */
ufm_devptr slot_address(const ufm_engine *e, uint32_t slot);
/* The work on `stream` so far is the last use of these slots: unpins them. */
ufm_status slots_used_by(ufm_engine *e, ufm_stream *stream, const uint32_t *slots, uint32_t n);
/* Empty slots hold NaN until they are filled, where the configuration asks for it. */
ufm_status slots_poison(ufm_engine *e, uint32_t first, uint32_t n);
/* Publishes the number of slots in use. */
void slots_publish(ufm_engine *e);

/* resident.c; the engine's lock is held */
ufm_status residents_open(ufm_engine *e);
void residents_close(ufm_engine *e);
/* A key loses its slot: later work of the copy stream comes after the layer's last call. */
ufm_status resident_forget(ufm_engine *e, uint32_t key);
/* Any slot may go: waits for the last call of every layer. */
ufm_status resident_forget_all(ufm_engine *e);
/* Counts the uses of every call whose mark has passed, and tells the policy; or of all, waiting. */
void resident_harvest(ufm_engine *e);
ufm_status resident_settle(ufm_engine *e);

/* lease.c */
uint32_t lease_max(const ufm_engine *e); /* the lock is held */
ufm_status leases_open(ufm_engine *e);
void leases_close(ufm_engine *e);

#endif
