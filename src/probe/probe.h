/* SPDX-License-Identifier: MIT */
/* The rates of this machine, as floors count with them: of its link, its memories and its arithmetic, probed with the
 * blocks, buffers, streams and memory of whoever is to be measured by them. */
#ifndef UFM_PROBE_PROBE_H
#define UFM_PROBE_PROBE_H

#include "budget/workspace.h"
#include "probe/link.h"

/* Host memory that the CPU reads: blocks by their keys, 0 … keys-1. */
typedef struct probe_blocks {
	const ufm_expert_desc *desc;
	uint32_t keys;
	const void *(*block)(const void *of, uint32_t key);
	const void *of;
} probe_blocks;

/* What is probed. All is at rest and stays the owner's. */
typedef struct probe_subject {
	probe_link link;
	probe_blocks blocks;
	/* device memory that may be read, and holds something: memory that was never written may not be there */
	ufm_devptr range;
	uint64_t range_bytes;
	const workspace *ws;      /* overwritten */
	ufm_expert_rows *entries; /* [entries_max], that the backend's experts may read */
	uint32_t entries_max;
	ufm_math math;      /* of the products; 0: UFM_MATH_FP32 */
	uint64_t budget_ns; /* of each probe, about; at least one measurement is made */
} probe_subject;

/* Decimal GB/s. */
typedef struct probe_rates {
	double link_gbps; /* host blocks to the device, several in flight */
	double hbm_gbps;  /* device memory read once */
	double dram_gbps; /* host blocks through the CPU: better of read and product */
	double sum_link_gbps, sum_cpu_gbps; /* both at once */
	/* Of our own `experts` with up to 512 rows an expert; 0: calls are too short for it to say anything. */
	double gflops;
	uint32_t threads; /* of the CPU */
} probe_rates;

ufm_status probe_all(probe_subject *subject, probe_rates *out);

/* Of what was probed twice the better counts, each rate for itself: what disturbs a probe makes it slower. Link and CPU
 * together are one. */
void probe_keep_better(probe_rates *best, const probe_rates *again);

#endif
