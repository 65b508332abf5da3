/* SPDX-License-Identifier: MIT */
/* What the layer level needs of an engine beyond ufm.h: slots for one layer's demand, the workspace,
 * and marks. */
#ifndef UFM_PAGER_PAGER_H
#define UFM_PAGER_PAGER_H

#include <stdbool.h>
#include <ufm/backend.h>

#include "assist/assist.h"
#include "assist/choice.h"
#include "assist/cost.h"
#include "budget/workspace.h"
#include "probe/probe.h"
#include "schedule/admit.h"
#include "schedule/schedule.h"
#include "telemetry/counters.h"
#include "telemetry/timeline.h"

ufm_host *engine_host(const ufm_engine *e);
/* UFM_EINVAL in a child of the process that opened the engine: nothing there may wait for a lock or a thread. */
ufm_status engine_check_process(const ufm_engine *e);
const ufm_backend *engine_backend(const ufm_engine *e);
ufm_stream *engine_stream(const ufm_engine *e); /* the engine's own compute stream */
counters *engine_counters(ufm_engine *e);
ufm_math engine_math(const ufm_engine *e);
uint32_t engine_call_tokens_max(const ufm_engine *e);

/* The ids [tokens, top_k] that a layer's call has computed, for ufm_engine_write_routing; does nothing when
 * routing is not recorded. Calls of one layer in their order. */
void engine_record_routing(ufm_engine *e, uint32_t layer, const int32_t *ids, uint32_t tokens,
                           uint32_t top_k);

/* NULL when none is kept, as timeline_add takes it. */
timeline *engine_timeline(ufm_engine *e);
/* Waits for work in flight, so that all of it is on the timeline. */
ufm_status engine_settle(ufm_engine *e);

/* One layer call at a time: taken around everything below. */
void engine_enter(ufm_engine *e);
void engine_leave(ufm_engine *e);

/* Buffers of the layer level, sized when the engine opened. */
const workspace *pager_get_workspace(const ufm_engine *e);

/* Host buffers of one call, page-locked. There are a few, used in turn. N = call_tokens_max, K = top_k_max. */
typedef struct pager_call {
	int32_t *ids;              /* [N * K] */
	float *gates;              /* [N * K] */
	uint32_t *row_of;          /* [N * K] */
	uint32_t *row_token;       /* [N * K] */
	ufm_expert_rows *entries;  /* [entries_max] */
	uint32_t *entry_call_rows; /* [entries_max]: of the expert, in the whole call */
	uint32_t entries_max;
	schedule_demand *demands; /* [experts]; not page-locked, as the next three */
	uint32_t *counts;         /* [experts] */
	uint32_t *experts;        /* [experts] */
	uint32_t *first_rows;     /* [experts] */
	uint64_t mark;            /* the work that may still read these buffers */
	ufm_devptr ids_view;      /* the device's address of ids */
	/* from when its misses were known to its end, for pager_choose_cpu: */
	ufm_event *timed_begin, *timed_end;
	uint32_t size, missed;
	bool timed, with_cpu;
	/* guarded by the engine's lock: */
	uint32_t layer, top_k;
	uint64_t unread; /* ids that the device wrote and nobody has counted yet */
	ufm_math math;   /* of the products that they led to */
} pager_call;
/* The next call's buffers, once their last user is done. */
ufm_status pager_call_next(ufm_engine *e, pager_call **out);
/* A call on the engine's own stream: work enqueued from now on may use the workspace, however the call
 * before used it. The end records call->mark. */
ufm_status pager_call_begin(ufm_engine *e);
ufm_status pager_call_end(ufm_engine *e, pager_call *call);

/* Marks: numbered points in a stream. pager_mark returns the number of a point after all work
 * enqueued on `stream` so far. */
ufm_status pager_mark(ufm_engine *e, ufm_stream *stream, uint64_t *mark);
/* Work enqueued on `stream` from now on comes after the mark. */
ufm_status pager_order(ufm_engine *e, ufm_stream *stream, uint64_t mark);
ufm_status pager_wait_mark(ufm_engine *e, uint64_t mark, uint64_t wait_ns);
/* For a mark on the engine's stream. Copies that end before it are retired while the caller waits, so that
 * nothing but the next layer is left to do when it passes. */
ufm_status pager_await_ids(ufm_engine *e, uint64_t mark);

/*
 * A span of the timeline between two points of the compute stream; both are given by one thread, in
 * the layer call. begin is NULL when no timeline is kept or more is in flight than can be remembered
 * (which counts as dropped); end takes it. Of `span` end reads all but the times.
 */
typedef struct pager_work pager_work;
pager_work *pager_work_begin(ufm_engine *e, timeline_kind kind);
void pager_work_end(ufm_engine *e, pager_work *work, const timeline_span *span);

/*
 * One layer's demand.
 * begin: pins what is resident, sets demands[].resident and refilled_next.
 * start: gives streamed experts (n <= pager_copies_together) a slot each and enqueues one copy of them behind
 * the slots' last use. *started: how many of them, in order, are in a slot or on their way; fewer than n when
 * every slot is pinned, some perhaps by experts of this call that were not used yet.
 * take: where an expert that is pinned or was started lies; orders the compute stream after its copy.
 * used: the work on the compute stream so far is the last use of these experts: unpins them. The
 * array is overwritten.
 * spare: the CPU computes and the call has nothing more for the link, which may bring what earlier calls left it.
 * admit: these were computed by the CPU; what the policy keeps of them gets a slot, and a copy when the link
 * has time. Nothing of a broad call (cache_is_broad). After all that was started.
 * end: releases whatever is still pinned (after a failure) and ends the event; before a long pause the link gets
 * what it owes.
 */
ufm_status pager_layer_begin(ufm_engine *e, uint32_t layer, schedule_demand *demands, uint32_t n);
ufm_status pager_layer_start(ufm_engine *e, uint32_t layer, const schedule_demand *demands,
                             uint32_t n, uint32_t *started);
ufm_status pager_layer_take(ufm_engine *e, uint32_t layer, const schedule_demand *wanted,
                            ufm_devptr *block);
ufm_status pager_layer_used(ufm_engine *e, uint32_t *experts, uint32_t n);
void pager_layer_spare(ufm_engine *e);
ufm_status pager_layer_admit(ufm_engine *e, uint32_t layer, const schedule_demand *computed,
                             uint32_t n);
void pager_layer_end(ufm_engine *e);
/* So many of the misses of the layer call in progress have a free place: the link brings them, for they stay there. */
uint32_t pager_layer_fills(ufm_engine *e);

#define PAGER_OFFERED 16u       /* tokens */
#define PAGER_CALLS_UNTIMED 16u /* with the CPU's help, before admission goes by what they took */
/* Of inputs and of outputs each, unless a fixed share needs more: with many rows an expert, arithmetic
 * on the CPU is far behind the link, and it computes few. */
#define PAGER_CPU_BUFFER_BYTES (64ull << 20)

/* Short calls of one size that go one way, to be compared with others. */
typedef struct pager_look {
	bool open, with_cpu;
	uint32_t lead; /* calls until the first that counts */
	choice_look sum;
} pager_look;

/* The CPU path: what the layer level needs to let the CPU compute misses where they lie. Everything
 * belongs to the one layer call in progress. */
typedef struct pager_cpu {
	assist *pool;           /* NULL: the path is off */
	assist_cost cost;       /* of an expert, by its tokens */
	double pace;            /* what a job takes, by what its threads worked; 0: not known */
	uint64_t *costs;        /* [experts], scratch */
	uint32_t rows_max;      /* of experts: x has room for PAGER_OFFERED tokens before them */
	uint32_t share_percent; /* of a layer's misses, always; 0: what ends earliest */
	/* Page-locked, f32 [PAGER_OFFERED + rows_max, d_model] and [rows_max, d_model]: normed inputs, which the
	 * device writes; outputs, which are copied to it. Of a call whose row table lies in host memory outputs go there. */
	float *x, *y;
	ufm_devptr x_view, y_view;
	float *table;      /* the row table of long calls; NULL: there are none */
	uint64_t start_ns; /* from giving it the first expert of a call until it begins */
	/* Lately, by the size of a call (choice.h): the part of calls that missed something. */
	float near[CHOICE_SIZES];
	/* auto: it learns for which calls the CPU pays. Guarded by the engine's lock, as all that follows. */
	bool chooses;
	choice choice;
	pager_look looks[CHOICE_SIZES]; /* at short calls, in progress */
	uint64_t called_ns;             /* when the last call knew its misses */
	uint32_t called_size, missed;   /* of that call */
	uint64_t call_ns;               /* of short calls that missed nothing */
	/* What admission goes by is learned, and looked at again now and then: */
	bool pinned;           /* no longer */
	uint32_t calls;        /* since then */
	float taken;           /* lately, the part of calls with misses that used the CPU */
	uint64_t term_changes; /* of the terms of admission */
} pager_cpu;
pager_cpu *pager_get_cpu(ufm_engine *e);
/* Whether calls of so many tokens are likely to have the CPU compute something. */
bool pager_cpu_is_near(const pager_cpu *cpu, uint32_t tokens);
/* Whether this call should use the CPU. Once a call of the pager's own, when its misses are known. */
bool pager_choose_cpu(ufm_engine *e, pager_call *call, uint32_t tokens, uint32_t misses);
/* What admission goes by now, and how often its terms have changed. */
void pager_get_admission(ufm_engine *e, admit *now, uint64_t *changes);
/* For tests: admission goes by these terms from now on, whatever is measured. */
void pager_pin_admission(ufm_engine *e, const admit_terms *terms);
/* Misses of this call that the CPU has been given. */
void pager_layer_on_cpu(ufm_engine *e, uint32_t n);
/* Where an expert lies in host memory. */
const void *pager_layer_host(const ufm_engine *e, uint32_t layer, uint32_t expert);

/* How many of the two copies that the layer call started last have not ended, without waiting. Those of
 * leases and hints are not counted: they must not keep a layer from its own. */
ufm_status pager_copies_in_flight(ufm_engine *e, uint32_t *copies);
/* Experts that one copy should bring, so that small blocks fill the link: 1 … BUDGET_TOGETHER. */
uint32_t pager_copies_together(const ufm_engine *e);
/* Until all copies in flight should have ended, those of others included; 0: none is. */
uint64_t pager_link_busy_ns(ufm_engine *e);
/* The mean time of one expert in such copies lately; 0: none has ended yet. */
uint64_t pager_copy_ns(ufm_engine *e);

/* Decimal GB/s of expert bytes, measured in place: real blocks of the host tier, real copies into real
 * slots, the real threads on one token. */
typedef struct pager_rates {
	double link_alone_gbps;
	double link_gbps, cpu_gbps, sum_gbps; /* both at once */
	uint64_t copy_ns, expert_ns;          /* of one expert, both at once */
} pager_rates;
/* Takes a few copies' time. UFM_EUNSUPPORTED where the path is off. Copies put the same bytes again where an expert
 * lies, or go into empty slots; no layer call or lease may run meanwhile. No slot's content, no residency and no counter
 * of uses or bytes changes. */
ufm_status pager_probe(ufm_engine *e, pager_rates *out);
/* What was measured when the engine opened; zeros if nothing was. */
void engine_rates(const ufm_engine *e, pager_rates *out);
/*
 * A call of a layer whose every expert is in a slot, on any stream: one that runs such calls only need
 * not wait for another at all.
 * begin: gives the device's table of their blocks, u64 [experts]; work enqueued on the stream from now
 * on may read them and use the workspace. Then the engine's lock is held until end: nothing in between
 * may wait, or call the pager but for its spans. *blocks 0: not resident, nothing is held.
 * end: marks the work so far as the layer's last use in call->mark, and leaves the call's ids, which
 * the device writes by call->top_k, to be counted and recorded when the mark has passed: uses, and rows by
 * call->math. After a failure it waits for the work. Returns the outcome, or its own failure.
 */
ufm_status pager_resident_begin(ufm_engine *e, uint32_t layer, ufm_stream *stream,
                                ufm_devptr *blocks);
ufm_status pager_resident_end(ufm_engine *e, uint32_t layer, ufm_stream *stream, pager_call *call,
                              uint64_t assignments, ufm_status outcome);

/* The same of all that the machine gives, whoever the pager would have work: what floors count with. Overwrites the
 * workspace, too. */
typedef struct pager_probe_config {
	ufm_devptr block; /* a block of device memory that holds nothing; 0: the pager's slots serve */
	ufm_math math;    /* of the products; 0: UFM_MATH_FP32 */
	uint64_t budget_ns; /* of each probe, about; at least one measurement is made */
} pager_probe_config;
ufm_status pager_probe_all(ufm_engine *e, const pager_probe_config *config, probe_rates *out);

/*
 * At rest: between engine_enter and engine_leave, and no lease is held.
 * rest: waits until nothing is in flight on the engine's streams. Gives two events for the caller's use
 * until engine_leave.
 * slots, slot: for tests: how many there are; where one lies and, in *key, whose bytes it holds, or UFM_KEY_NONE.
 */
typedef struct pager_events {
	ufm_event *begin, *end;
} pager_events;
ufm_status pager_rest(ufm_engine *e, pager_events *events);
uint32_t pager_slots(ufm_engine *e);
ufm_devptr pager_slot(ufm_engine *e, uint32_t slot, uint32_t *key);

/* Every expert of every layer into its slot, by hints and leases, and waits for the copies: of an engine that has a
 * slot for each. stop: NULL, or asked on the way; anything but 0 ends it with UFM_ECANCELED. */
ufm_status pager_load_all(ufm_engine *e, int (*stop)(void *ctx), void *stop_ctx);

/* How far the slots are filled, at any moment: those that hold an expert, or will when its copy has come, and the
 * places that no expert has taken yet. */
typedef struct pager_filled {
	uint32_t held, free_places;
} pager_filled;
void pager_get_filled(ufm_engine *e, pager_filled *out);

#endif
