/* SPDX-License-Identifier: MIT */
/* Leases: experts of one layer that a caller holds in their slots; and hints. */
#ifndef UFM_PAGER_LEASES_H
#define UFM_PAGER_LEASES_H

#include "base/lock.h"
#include "budget/budget.h"
#include "cache/cache.h"
#include "pager/loads.h"
#include "pager/slab.h"

#define PAGER_LEASES 64

struct ufm_lease {
	ufm_engine *engine;
	bool taken;
	uint32_t n;
	uint32_t *slots; /* [experts] */
};

typedef struct leases {
	/* the same from open to close: */
	cache *cache;
	slab *slab;
	loads *loads;
	counters *counters;
	const budget *plan; /* what changes of it is guarded by the engine's lock */
	uint32_t layers, experts;
	/* guarded by the engine's lock: */
	ufm_lease
		items[PAGER_LEASES]; /* of one layer's experts each; a taken one is its owner's to read */
	uint32_t leased;         /* experts in leases */
	lock_cond released;      /* a lease, or what a layer call held */
	cache_member *members;   /* [experts], scratch */
	uint8_t *seen;           /* [experts], scratch */
} leases;

/* The part that stays the same is set. UFM_ENOMEM. */
ufm_status leases_open(leases *l, ufm_engine *owner);
void leases_close(leases *l);
/* What ufm_acquire_begin, ufm_acquire_ready and ufm_release promise. */
ufm_status leases_acquire(leases *l, uint32_t layer, const uint32_t *experts, uint32_t n,
                          ufm_lease **out);
ufm_status leases_order(leases *l, const ufm_lease *lease, ufm_stream *stream);
ufm_status leases_release(leases *l, ufm_lease *lease, ufm_stream *stream);
/* What ufm_prefetch promises, for one expert. */
ufm_status leases_hint(leases *l, uint32_t layer, uint32_t expert);
/* UFM_EINVAL names the layer that is not there. */
ufm_status leases_check_layer(const leases *l, uint32_t layer);

#endif
