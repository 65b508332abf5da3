/* SPDX-License-Identifier: MIT */
/* One layer call's demand on the slots: which experts it holds, and what it still waits for. */
#ifndef UFM_PAGER_DEMAND_H
#define UFM_PAGER_DEMAND_H

#include "cache/cache.h"
#include "pager/loads.h"
#include "pager/owed.h"
#include "pager/slab.h"
#include "schedule/admit.h"

#define PAGER_WATCHED 2 /* copies of a layer call that it can ask for */

typedef struct demand {
	/* the same from open to close: */
	cache *cache;
	slab *slab;
	loads *loads;
	owed *owed;
	counters *counters;
	ufm_stream *compute;
	uint32_t experts; /* of a layer */
	/* of the layer call in progress, so guarded by the layer lock: */
	uint32_t *held; /* [experts]: slot pinned for the call, or SLOT_NONE */
	/* guarded by the engine's lock: */
	uint32_t layer, member_count;
	cache_member *members;            /* [experts] */
	uint64_t loads_of[PAGER_WATCHED]; /* the latest copies of the call; 0: none */
	uint32_t next_load;
	uint64_t accounted; /* uses of the call that got a path */
	bool told;          /* the policy has heard of the event */
	bool choosy;        /* the CPU path is on: admission goes by `admit` */
	bool shares_always; /* a fixed share is the CPU's even where places are free */
	admit admit;
	admit_turn turn;
	bool broad; /* what the CPU computes of it gets no slot */
	uint32_t
		fills; /* so many of its misses have a free place, and the link therefore brings them */
} demand;

/* The part that stays the same is set. UFM_ENOMEM. */
ufm_status demand_open(demand *d);
void demand_close(demand *d);
/* pager_layer_begin, once what came before it is settled with this outcome: after a failure nothing
 * is pinned, and the event began all the same. */
ufm_status demand_begin(demand *d, uint32_t layer, schedule_demand *wanted, uint32_t n,
                        ufm_status settled);
/* pager_layer_start. */
ufm_status demand_hold(demand *d, uint32_t layer, const schedule_demand *wanted, uint32_t n,
                       uint32_t *started);
/* Takes an expert's slot out of `held`: the engine's lock is not needed. */
uint32_t demand_take(demand *d, uint32_t expert);
/* pager_copies_in_flight. */
ufm_status demand_in_flight(const demand *d, uint32_t *copies);
/* n uses got another path than a slot. */
void demand_elsewhere(demand *d, uint32_t n);
/* pager_layer_admit. */
ufm_status demand_admit(demand *d, uint32_t layer, const schedule_demand *computed, uint32_t n);
/* pager_layer_end. */
void demand_end(demand *d);

#endif
