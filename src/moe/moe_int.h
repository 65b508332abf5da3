/* SPDX-License-Identifier: MIT */
/* A routed layer's insides, for the files of this folder. */
#ifndef UFM_MOE_MOE_INT_H
#define UFM_MOE_MOE_INT_H

#include <stdbool.h>

#include "moe/source.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "schedule/launches.h"

struct ufm_layer {
	ufm_engine *engine;
	ufm_layer_config config; /* its host pointers are not kept */
	const ufm_expert_desc *desc;
	uint32_t experts;
	ufm_devptr router, norm; /* 0: none */
	moe_source source;
};

/* Numbers of rows, for the device: where they lie there, or few of them on the host. */
typedef struct row_numbers {
	ufm_devptr device;
	const uint32_t *few; /* NULL: on the device */
} row_numbers;

/* One call on its way through a layer. */
typedef struct forward {
	ufm_layer *layer;
	const ufm_moe_call *call;
	const ufm_backend *b;
	ufm_stream *stream; /* the engine's; the caller's in resident.c */
	counters *counters;
	const workspace *ws;
	pager_call *buffers;
	ufm_devptr x; /* where x lies on the device */
	uint64_t x_stride;
	bool token_gathered; /* of a single token: all of ws->x is that */
	uint32_t demand_count;
	uint64_t offered;  /* the mark of tokens that are written to the CPU path's inputs; 0: none */
	uint32_t together; /* misses that one copy brings and one launch computes */
	schedule_plan plan;
	bool ids_on_device;            /* in ws->ids, beside the host's */
	row_numbers row_of, row_token; /* the row table */
	/* the piece being collected: rows [piece_first, piece_first + piece_rows) of the row table */
	uint32_t piece_first, piece_rows;
	uint32_t entry_first, entry_next;
} forward;

/* span.c: ends a span of device work of this call; `experts` and `rows` are for the reader. */
void span_end(const forward *f, pager_work *work, uint32_t experts, uint32_t rows);
/* An expert that the CPU computed. */
void span_cpu(const forward *f, const schedule_demand *demand, uint64_t begin_ns, uint64_t end_ns);
/* What the host did from begin_ns to now. */
void span_host(const forward *f, timeline_kind kind, uint64_t begin_ns);

/* stage.c: tokens between the caller's memory and the device */
ufm_status stage_check(const ufm_layer *layer, const ufm_tokens *t, uint32_t tokens,
                       const char *name);
ufm_dtype stage_dtype(const ufm_tokens *tokens);
ufm_status stage_in(forward *f);
/* What brings tokens of x from `first` on, normed, into the workspace; it is used once. */
ufm_gather_args stage_tokens(forward *f, uint32_t first, uint32_t tokens);
/* Brings the tokens of rows in the row table, from row `first` on, for products; and into any f32
 * [rows, d_model] that the device can address. */
ufm_status stage_gather_rows(forward *f, uint32_t first, uint32_t rows);
ufm_dtype stage_rows_dtype(const forward *f); /* as which they lie there */
uint32_t stage_piece_rows(const forward *f);  /* and how many fit */
ufm_status stage_gather_rows_to(forward *f, uint32_t first, uint32_t rows, ufm_devptr out);
ufm_status stage_gather_to(forward *f, uint32_t first, uint32_t tokens, ufm_devptr out);
/* Where combine writes y, and the copy that follows when y lies in host memory. */
void stage_out_target(const forward *f, ufm_devptr *y, uint64_t *stride);
ufm_status stage_out(forward *f);
/* A copy that counts as activations. */
ufm_status stage_copy(forward *f, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                      uint64_t size_bytes);

/* route.c: ids on the host, gates on the device; and both to the caller, once the rest succeeded */
ufm_status route(forward *f);
/* Gates on the device alone, ids where they are wanted; and rows of them there, where `group` is not NULL. */
ufm_status route_on_device(forward *f, ufm_devptr ids, const ufm_group_args *group);
ufm_status report_routing(forward *f);

/* launch.c: what the cursor over the demands answers, performed: on the compute stream, and by starts of the
 * source. */
ufm_status launch_start(forward *f, launches *at, const launch_step *step);
ufm_status launch_run(forward *f, launches *at,
                      const launch_step *step);                /* residents, or misses started */
ufm_status launch_stuck(const forward *f, const launches *at); /* the error of LAUNCH_STUCK */
/* All of it, on the device alone. */
ufm_status launch_all(forward *f);
/* The expert's first row in the row table. */
uint32_t launch_row(const forward *f, const schedule_demand *demand);

/* assisted.c: misses computed by the CPU beside the copies of others */
/* Whether calls like this one are likely to need the CPU. */
bool assisted_is_near(const forward *f);
/* Tells the pool that a call is coming. */
void assisted_wake(forward *f);
/* Writes the tokens of a small call for the CPU, before it is known which it needs. */
ufm_status assisted_offer(forward *f);
/* Whether the CPU should have a part in this call. */
bool assisted_wanted(forward *f);
/* In place of launch_all. */
ufm_status assisted_run(forward *f);

/* forward.c: the row table into y, y and the routing to the caller: what every call ends with */
ufm_status deliver(forward *f);

/* resident.c: the whole call without the host, if it can be had: then *ran, and buffers->mark is set
 * unless it failed. Runs on the caller's stream. */
ufm_status resident_run(forward *f, ufm_stream *caller, bool *ran);

/* source.c */
moe_source source_pager(ufm_engine *engine);

#endif
