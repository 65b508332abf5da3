/* SPDX-License-Identifier: MIT */
/*
 * What the hardware allows a step, given the rates probed in the same run. Pure.
 *
 * Resident floor: every demanded byte is read from device memory once, every operation is done once.
 * Miss floor: every byte that is not on the device comes from the host. They overlap, so the step's floor
 * is the larger one. Rates are decimal GB/s, which are bytes a nanosecond.
 */
#ifndef CLI_BENCH_FLOOR_H
#define CLI_BENCH_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct floor_rates {
	double hbm_gbps, link_gbps;
	double sum_link_gbps, sum_cpu_gbps; /* of link and CPU while both run */
	double peak_gflops;                 /* 0: not known; then arithmetic is no bound */
} floor_rates;

typedef struct floor_demand {
	uint32_t layers, experts; /* experts: a layer */
	uint32_t slots;
	double touched;    /* distinct experts that a layer demands in a step, on average */
	double missed;     /* those of them that were not resident, on average, as measured */
	double operations; /* a step */
	uint64_t expert_bytes;
	bool cpu; /* the CPU computes misses beside the link */
} floor_demand;

typedef enum floor_bound {
	FLOOR_HBM,
	FLOOR_COMPUTE,
	FLOOR_LINK,
	FLOOR_CPU_LINK,
} floor_bound;
const char *floor_bound_name(floor_bound bound); /* "hbm", "compute", "link", "cpu+link" */

/* Whose misses the miss floor counts. */
typedef enum floor_kind {
	FLOOR_SWEEP, /* the fewest: one layer that demands more than fits keeps its slots full; all fits: 0 */
	FLOOR_MEASURED, /* the run's own */
} floor_kind;
const char *floor_kind_name(floor_kind kind); /* "sweep", "measured" */

typedef struct step_floor {
	double resident_ms, miss_ms, step_ms;
	double misses; /* a layer in a step */
	floor_bound bound;
	floor_kind kind;
} step_floor;

/* false: the rates of memory or link are not known, or nothing was demanded. */
bool floor_of_step(const floor_demand *demand, const floor_rates *rates, step_floor *out);

/* The shortest time for a layer's misses in whole experts, each taking one or the other time. Between
 * whole numbers of misses, in proportion. */
double floor_split(double misses, double link_each, double cpu_each);

#endif
