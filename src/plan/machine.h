/* SPDX-License-Identifier: MIT */
/* The machine that a plan is for. */
#ifndef UFM_PLAN_MACHINE_H
#define UFM_PLAN_MACHINE_H

#include "plan/timing.h"
#include "probe/probe.h"

#define MACHINE_CORES_ASSUMED 16u

typedef struct plan_machine {
	timing_rates rates;
	bool sum_assumed;           /* what link and CPU reach together was not measured */
	char backend[64];           /* whose costs and memory are counted: "cuda", "cpu" */
	uint64_t granularity_bytes; /* what of a device a budget depends on */
} plan_machine;

/* What a probe found. */
timing_rates machine_rates_of_probe(const probe_rates *found);

/* Once backend and rates are set: the granule, and what link and CPU reach together where that is not known.
 * UFM_EBACKEND: its costs were never measured. */
ufm_status machine_finish(plan_machine *m);

/* Device memory that an experts call wants for its hidden rows: the same on every backend there is. */
uint64_t machine_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows);

#endif
