/* SPDX-License-Identifier: MIT */
/*
 * What a step takes: rates that a machine has, and what the engine costs beside them. Pure.
 *
 * A layer call that waits for the host is: until the ids are known and the first copy runs, then the longer of what
 * moves (the link, or link and CPU sharing whole experts) and what the device computes, then the last expert and the
 * combination. A layer whose every expert is in a slot is computed without a wait. Rates are decimal GB/s, which are
 * bytes a nanosecond. docs/plan.md says how well this does and which rows the costs are from.
 */
#ifndef CLI_PLAN_TIMING_H
#define CLI_PLAN_TIMING_H

#include <stdbool.h>
#include <stdint.h>

/* What the engine costs on a backend, beside bytes and operations. Fitted: see the table in timing.c. */
typedef struct timing_costs {
	const char *backend;
	double
		resident_layer_ns;  /* kernels of a call without a wait of the host, one after the other */
	double wait_layer_ns;   /* of one with a wait: ids to the host, first copy, last expert */
	double shared_layer_ns; /* of one whose misses the CPU shares; instead */
	bool given_overlap;     /* whether such calls overlap */
	double given_layer_ns;  /* of one whose ids the caller brings, so that calls overlap; instead */
	double token_ns;        /* of each token in a layer: routing, row table, combination */
	double copy_ns;         /* the least a copy of a layer takes, with its launch */
	double copy_gap_ns;     /* after each copy, beyond what a probe of many in flight shows */
	double overlap; /* of the shorter of reading and computing, the part that is not hidden */
	double cpu_thread_gflops; /* of a thread of the CPU path in experts with many rows */
	double
		cpu_stray; /* what the engine takes for an expert's cost on the CPU is wrong by as much */
	/* Streams that share the host's memory, where only each alone is known: the parts that are left. */
	double sum_link, sum_cpu;
} timing_costs;

/* NULL: no such backend was measured. */
const timing_costs *timing_costs_of(const char *backend);

typedef struct timing_rates {
	double link_gbps, hbm_gbps;
	double dram_gbps;                   /* 0: not known */
	double sum_link_gbps, sum_cpu_gbps; /* while both run; 0: the CPU has no part */
	double peak_gflops; /* of the device; 0: not known, then arithmetic is no bound */
	uint32_t cpu_threads;
} timing_rates;

typedef struct timing_terms {
	timing_rates rates;
	const timing_costs *costs;
	uint64_t expert_bytes;
	double row_operations; /* of a token in an expert */
	bool given;            /* the caller brings the ids: the host knows them ahead */
	bool cpu;              /* the CPU path is on */
} timing_terms;

/* One layer's call. */
typedef struct timing_layer {
	uint32_t tokens;
	uint64_t device_rows; /* token-expert pairs that the device computes */
	uint32_t on_device;   /* experts that it computes */
	uint32_t streamed, copies;
	uint32_t on_cpu;
	double cpu_ns; /* that the CPU computes for them */
	bool whole;    /* every expert of the layer is in a slot, and the call needs no host */
} timing_layer;

/* Nanoseconds by what they are spent on; overlapped work counts for what is the longer. */
typedef enum timing_bound {
	TIMING_HBM,
	TIMING_COMPUTE,
	TIMING_LINK,
	TIMING_SHARED,
	TIMING_HOST,
	TIMING_BOUNDS,
} timing_bound;
const char *timing_bound_name(timing_bound bound); /* "hbm", … "cpu+link", "host overhead" */

typedef struct timing_step {
	double ns, parts_ns[TIMING_BOUNDS];
	/* Sums over the layers, as if nothing overlapped. */
	double link_ns, device_ns;
} timing_step;

/* One expert over the link, or by the CPU for so many rows: while both work, and alone. */
double timing_copy_ns(const timing_terms *t);
double timing_shared_copy_ns(const timing_terms *t); /* while the CPU computes */
double timing_cpu_ns(const timing_terms *t, uint32_t rows);
double timing_cpu_alone_ns(const timing_terms *t, uint32_t rows);

/* A step is its layers added one by one, then ended. */
void timing_add(const timing_terms *t, const timing_layer *layer, timing_step *step);
void timing_end(const timing_terms *t, timing_step *step);

/* What most of the time goes to. */
timing_bound timing_binds(const timing_step *step);

#endif
