/* SPDX-License-Identifier: MIT */
/* The rates of this machine, probed once a run, on the run's own engine, with its own blocks, streams and
 * memory: what the floors of a row come from. */
#ifndef UFM_PROBE_PROBE_H
#define UFM_PROBE_PROBE_H

#include <ufm/ufm.h>

typedef struct probe_config {
	ufm_engine *engine; /* at rest: no call, no lease */
	ufm_devptr block; /* a block of device memory that holds nothing; 0: the pager's slots serve */
	ufm_math math;    /* of the run's products; 0: UFM_MATH_FP32 */
	uint64_t budget_ns; /* of each probe, about; at least one measurement is made */
} probe_config;

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

/* No slot's content, no residency and no counter of uses or bytes changes. Overwrites the workspace. */
ufm_status probe_all(const probe_config *config, probe_rates *out);

/* Of what was probed twice the better counts, each rate for itself: what disturbs a probe makes it slower. Link and CPU
 * together are one. */
void probe_keep_better(probe_rates *best, const probe_rates *again);

#endif
