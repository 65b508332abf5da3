/* SPDX-License-Identifier: MIT */
/*
 * The engine, for the files of this folder: a frame around its parts.
 *
 * Files stand on each other in this order, and call downwards only:
 *
 *   lend regrow                             memory for another allocator; a budget that follows it
 *   lender                                  one budget for engines and another allocator
 *   room divide                             a budget by what others need; several engines' one
 *   resize                                  a new budget
 *   engine                                  opening and closing
 *   parts                                   what each part stands on
 *   cpu_path                                whether the CPU path is on
 *   rates                                   link and CPU, measured
 *   view turns layer lease record           the interface: these take the engine's locks
 *     engine_info streams
 *   choose                                  whether the CPU has a part in a call
 *   looks terms chosen                      what it costs; what admission goes by; what was chosen
 *   settle                                  what has ended, and who hears of it
 *   pager_int.h                             the engine
 *   residents leases demand                 resident calls; leases; a layer call's experts
 *   owed                                    copies that wait until the link has time
 *   loads                                   copies
 *   slab tables spans calls                 slots; resident layers; timeline; calls' buffers
 *   marks host budget                       points in streams; the host tier; the budget
 *   pinned key lent pager.h                 page-locked memory; keys; what was lent; what other folders see
 *
 * A part knows the parts below it by pointers that parts.c sets, and includes their headers, not
 * this one. It takes no lock of the engine; its header says which one guards a field.
 */
#ifndef UFM_PAGER_PAGER_INT_H
#define UFM_PAGER_PAGER_INT_H

#include "base/lock.h"
#include "budget/budget.h"
#include "cache/cache.h"
#include "pager/calls.h"
#include "pager/demand.h"
#include "pager/host.h"
#include "pager/leases.h"
#include "pager/loads.h"
#include "pager/marks.h"
#include "pager/owed.h"
#include "pager/pager.h"
#include "pager/pinned.h"
#include "pager/residents.h"
#include "pager/slab.h"
#include "pager/spans.h"
#include "pager/tables.h"
#include "telemetry/routing.h"

/* One reserved range: what never changes its size, then the slab. The first mapped_bytes of it are
 * backed by memory. */
typedef struct region {
	ufm_devptr base; /* this and the next two are the same from open to close */
	uint64_t reserved_bytes;
	uint32_t slots_max;    /* the engine may ever have; room is reserved for them */
	uint64_t mapped_bytes; /* guarded by the engine's lock */
} region;

/* The caller's own device memory. */
typedef struct arena {
	uint64_t used_bytes;         /* guarded by the engine's lock */
	_Atomic uint64_t live_bytes; /* the same, for readers without it */
} arena;

/* Streams of another library's, by their handles, kept until the engine closes. */
typedef struct wrapped {
	uint32_t count;
	void *natives[UFM_STREAMS_MAX];
	ufm_stream *streams[UFM_STREAMS_MAX];
} wrapped;

struct ufm_engine {
	lock layer_lock; /* one layer call at a time */
	lock lock;       /* the engine's lock */
	lock *guard;     /* &lock, for readers that have a const engine */

	/* the same from open to close: */
	ufm_host *host;
	const ufm_backend *b;
	ufm_device *device;
	ufm_stream *compute, *copy;
	ufm_engine_config config; /* defaults resolved */
	ufm_engine_debug debug;
	ufm_device_info device_info;
	uint64_t free_at_open_bytes;
	ufm_expert_desc desc;
	uint32_t layers, experts;
	workspace ws;                   /* addresses; whose turn it is, calls knows */
	pinned host_table, host_tokens; /* of calls longer than max_tokens */
	routing *routing;               /* NULL: not recorded; has a lock of its own */

	/* set when the engine opens; what a layer call changes of cpu is guarded by the layer lock: */
	pager_cpu cpu;
	pinned cpu_x, cpu_y;
	pager_rates rates;
	char cpu_why[192]; /* "on", "off", "off: ..." */

	/* guarded by the engine's lock, but for what their headers say: */
	budget plan; /* workspace and arena never change */
	cache *cache;
	region region;
	wrapped wrapped;
	arena arena;
	marks marks;
	slab slab;
	tables tables;
	spans spans; /* has a lock of its own */
	calls calls;
	loads loads;
	owed owed;
	residents residents;
	leases leases;
	demand demand;

	uint64_t
		uses_divided;  /* when a budget was last divided by them; guarded by the engine's lock */
	counters counters; /* atomic */
};

/* engine.c */
/* What the engine's budget is divided by. */
budget_terms engine_terms(const ufm_engine *e);

/* parts.c */
/* Once the device's memory is divided and mapped. After a failure parts_close is still due. */
ufm_status parts_open(ufm_engine *e);
void parts_close(ufm_engine *e);

/* cpu_path.c */
/* Threads, buffers and the decision of auto. After everything else is open. */
ufm_status cpu_path_open(ufm_engine *e);
void cpu_path_close(ufm_engine *e);
ufm_status cpu_path_check(const ufm_engine_config *c);

/* choose.c */
/* A call that was chosen for has been enqueued; and has ended, so that its time can be learned from. The layer lock
 * is held. */
void choose_end(ufm_engine *e, pager_call *call);
void choose_learn(ufm_engine *e, pager_call *call);
/* What was learned was of other slots. The engine's lock is held, too. */
void choose_forget(ufm_engine *e);

/* chosen.c; the engine's lock is held */
/* What auto has chosen so far, in words; "" where it does not choose. */
void choose_describe(const ufm_engine *e, char *text, size_t size);
/* What is chosen for calls of a size is another now. */
void chosen_changed(const ufm_engine *e, uint32_t size);

/* looks.c; the engine's lock is held */
/* Whether the calls of the look that goes on, or begins, use the CPU. */
bool looks_ask(ufm_engine *e, uint32_t size);
/* A call of that size knows what it misses. */
void looks_time(ufm_engine *e, uint32_t size, uint32_t misses);
/* A call that belongs to no look, nor does the time until the next. */
void looks_pass_by(ufm_engine *e, uint32_t size);
/* What the link alone takes for so many misses at least: by the rate that was measured when the engine opened or by the
 * copies made lately, whichever is less. 0: there was none. */
double looks_link_ns(const ufm_engine *e, double misses);
void looks_forget(ufm_engine *e);

/* terms.c; the engine's lock is held */
/* A call was chosen for. Learns the terms anew, seldom, so that a replay needs to be told of few. */
void terms_look(ufm_engine *e);

/* streams.c */
/* Closes what ufm_stream_of has opened. */
void streams_close(ufm_engine *e);

/* divide.c */
/* Distinct engines of one device and of this process, at least one. */
ufm_status engines_check(ufm_engine *const *engines, uint32_t n);

/* record.c */
ufm_status record_check(const ufm_engine_config *c);
ufm_status record_open(ufm_engine *e);
void record_close(ufm_engine *e);

#endif
