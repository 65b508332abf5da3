/* SPDX-License-Identifier: MIT */
/*
 * Experts that were given a slot and whose copy was not started: the CPU computed them, and the link brings them
 * when it has time. That they were admitted does not depend on time; only when their bytes come does. Until
 * then a demand for one is served as a miss that has a slot already.
 */
#ifndef UFM_PAGER_OWED_H
#define UFM_PAGER_OWED_H

#include "assist/assist.h"
#include "pager/loads.h"

/* Copies that may wait for the CPU to have work again. */
#define OWED_WAITING_MAX 2u

typedef struct owed_item {
	uint32_t slot, generation;
	uint64_t forget; /* of assist_forget */
} owed_item;

typedef struct owed {
	/* the same from open to close: */
	cache *cache;
	slab *slab;
	loads *loads;
	counters *counters;
	assist *
		pool; /* whose caches what it computed must leave before a device copies it; NULL: no need */
	uint32_t room; /* a power of two, at least the slots that there may ever be */
	/* guarded by the engine's lock: */
	owed_item *items;      /* [room]; number n lies at n % room; some are stale */
	uint64_t next, oldest; /* numbers */
	uint64_t left_ns;      /* when the last layer call ended */
	uint64_t pause_ns;     /* between two layer calls, lately */
	bool had_rest;         /* before the call in progress */
} owed;

/* The part that stays the same is set, but for room. slots_max: that there may ever be. UFM_ENOMEM. */
ufm_status owed_open(owed *o, uint32_t slots_max);
void owed_close(owed *o);

/* Admits a key that is not resident, and whose block lies there in host memory: it gets a slot, and its copy is owed if that is one to stay in. UFM_EBUSY:
 * every slot is pinned. */
ufm_status owed_admit(owed *o, admit_turn *turn, uint32_t key, const void *block);
/* Whether the slot's tenant waits for its copy. */
bool slot_is_owed(const slab *s, uint32_t slot);

/*
 * When a copy is in flight, ids and launches are on their way for longer: a layer that begins beside one takes a
 * third longer (docs/performance-log.md, Copies beside the CPU's work). So copies start, oldest first and `together` at a
 * time, where little is waiting for the link: while the CPU computes, and between two layer calls.
 */
/* A layer call begins: how long the link was left to itself before is learned. */
void owed_enter(owed *o);
/* Whether the caller had nothing to compute before the call in progress: the pause was longer than any layer needs. */
bool owed_had_rest(const owed *o);
/* The CPU computes, and the call has nothing more for the link: starts one if the link is idle. */
ufm_status owed_step(owed *o, uint32_t together);
/* A layer call ends: starts those that should end before the next, and one if too many wait. */
ufm_status owed_leave(owed *o, uint32_t together);
/* Starts all. */
ufm_status owed_start_all(owed *o);

#endif
