/* SPDX-License-Identifier: MIT */
/* Where a layer's call gets its experts from. The engine's pager is one source; the mode
 * naive_offload of cli/modes/ is another, so that both run the same router, kernels and combine. */
#ifndef UFM_MOE_SOURCE_H
#define UFM_MOE_SOURCE_H

#include <stdbool.h>
#include <ufm/backend.h>

#include "schedule/schedule.h"

/* Called by one thread at a time, in this order: begin, then start, take and done for groups of experts,
 * then end (always, also after a failure). Work goes to engine_stream(). */
typedef struct moe_source {
	void *self;
	/* Besides the device, what the engine's pager has serves this source: the CPU may compute misses where
	 * they lie in the host tier, and layers that are wholly in slots need no host. */
	bool paged;
	/* Experts that one start should bring, >= 1. */
	uint32_t (*together)(void *self);
	/* Sets demands[].resident for experts that `take` gives without a copy, refilled_next and wanted. */
	ufm_status (*begin)(void *self, uint32_t layer, schedule_demand *demands, uint32_t n);
	/* Begins to bring experts that are not resident. *started: how many, in order; fewer than n when there is
	 * no room until some that were started before are done. */
	ufm_status (*start)(void *self, uint32_t layer, const schedule_demand *demands, uint32_t n,
	                    uint32_t *started);
	/* Gives the device address of an expert that is resident or was started; work enqueued from now on may
	 * read it. */
	ufm_status (*take)(void *self, uint32_t layer, const schedule_demand *demand,
	                   ufm_devptr *block);
	/* The work enqueued so far was the last use of these experts in this call; the array may be
	 * overwritten. */
	ufm_status (*done)(void *self, uint32_t layer, uint32_t *experts, uint32_t n);
	void (*end)(void *self);
} moe_source;

/* Replaces the layer's source; NULL: the pager again. Not while a call runs. */
void layer_set_source(ufm_layer *layer, const moe_source *source);

#endif
