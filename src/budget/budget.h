/* SPDX-License-Identifier: MIT */
/* What a memory budget means, before anything is allocated: workspace, arena, slots, ring. Pure: the few facts of a
 * device that it needs are given, so that a budget can be planned for a device that is not there. */
#ifndef UFM_BUDGET_BUDGET_H
#define UFM_BUDGET_BUDGET_H

#include <stdbool.h>

#include "budget/workspace.h"

typedef struct budget_terms {
	const ufm_engine_config *config; /* defaults resolved */
	const ufm_expert_desc *desc;
	uint32_t layers, experts;
	/* of the device: ufm_backend.hidden_bytes, and of ufm_device_info */
	uint64_t (*hidden_bytes)(const ufm_expert_desc *desc, uint32_t rows);
	uint64_t granularity_bytes, memory_bytes, unusable_bytes;
} budget_terms;

typedef struct budget {
	uint64_t workspace_bytes, arena_bytes; /* the same as long as the engine lives */
	uint64_t target_bytes;                 /* what was asked, or all that there is */
	uint64_t slab_bytes, total_bytes;      /* total: of all three, in whole granules */
	uint32_t slots, ring;
	uint32_t together; /* experts that a copy should bring */
} budget;

/* The division of target_bytes, or with 0 of what can be had of free_bytes. UFM_EBUDGET. */
ufm_status budget_plan(const budget_terms *t, uint64_t target_bytes, uint64_t free_bytes,
                       budget *out);
/* Bytes of workspace, arena and a number of slots, in whole granules. */
uint64_t budget_total(const budget_terms *t, const budget *plan, uint32_t slots);
/* The smallest target_bytes that gives `slots` of them, headroom included. Not bounded by the device. */
uint64_t budget_target(const budget_terms *t, uint32_t slots);
/* The slots of the smallest working set. */
uint32_t budget_slots_min(const budget_terms *t);
/* The most slots that any budget could have on this device; at least the plan's. */
uint32_t budget_slots_max(const budget_terms *t, const budget *plan);
/* Gives every workspace buffer its address from `base`, or only measures with base 0; returns the
 * bytes. */
uint64_t budget_workspace(const budget_terms *t, ufm_devptr base, workspace *ws);

#endif
