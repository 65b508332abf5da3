/* SPDX-License-Identifier: MIT */
/*
 * What a step takes: rates that a machine has, and what the engine costs beside them. Pure.
 *
 * Three go through the layers of a step one after the other, each with a clock of its own: the host that gives out
 * work, the link that copies, and the device that computes. A layer's copies begin when the host is there and the link
 * has done those before; the device computes residents at once and each miss when it has come. Where the device makes
 * the ids, the host waits for them in every layer; where the caller brings them it runs ahead, as many calls as there
 * are buffers for. A layer whose every expert is in a slot is computed without the host. Rates are decimal GB/s, which
 * are bytes a nanosecond. docs/plan-model.md says how well this does and which rows the costs are from.
 *
 * What the CPU computed and the policy keeps is owed a copy. The link begins one while the CPU computes for a later
 * layer and the link is idle; the copies of a later layer's misses wait for that, and the layers under it are slower.
 */
#ifndef UFM_PLAN_TIMING_H
#define UFM_PLAN_TIMING_H

#include <stdbool.h>
#include <stdint.h>

#define TIMING_CALLS_MAX 4u

/* What the engine costs on a backend, beside bytes and operations. Fitted: see the table in timing.c. */
typedef struct timing_costs {
	const char *backend;
	/* A call without the host: kernels that chain. */
	double resident_ns;
	/* The host for a call that it gives out, and for each launch of kernels in it, of several tokens and of one. It
	 * may begin a call when the one so many before has ended: 1 … TIMING_CALLS_MAX. */
	double call_ns, launch_ns, launch_one_ns;
	uint32_t calls_ahead;
	/* From the end of the layer before until the host has the ids that the device makes and has judged them. */
	double ids_ns;
	/* The device before the first expert, but of a single token, while those ids are on their way; where the caller
	 * brought them that is when the CPU's inputs are there as well. And after the last. */
	double start_ns, end_ns;
	/* The CPU until it begins, and from its end until the device has its rows; and for each expert, as its threads
	 * wait for each other. */
	double shared_ns, cpu_expert_ns;
	/* Each token in a layer: routing, row table, combination. */
	double token_ns;
	/* Each copy, beyond what a probe of many in flight shows; and of one that finds the link idle, until it moves
	 * bytes and from its end until it is noticed. */
	double copy_gap_ns, copy_start_ns;
	/* A layer under a copy that is not its own: launches and small transfers take longer. */
	double under_copy_ns;
	/* Of the shorter of reading and computing, the part that is not hidden. */
	double overlap;
	/* Rows of an expert are computed by whole tiles. */
	bool tiles;
	/* A thread of the CPU path in experts with many rows. */
	double cpu_thread_gflops;
	/* What the engine takes for an expert's cost on the CPU is wrong by as much: 0 … 1. */
	double cpu_stray;
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
	bool wide;             /* weights in bf16, of which warpgroups compute many rows */
	bool given;            /* the caller brings the ids: the host knows them ahead */
	bool cpu;              /* the CPU path is on */
} timing_terms;

/* One layer's call. */
typedef struct timing_layer {
	uint32_t tokens;
	uint32_t on_device;          /* experts that the device computes */
	uint64_t device_passes;      /* over their weights: one for each tile of rows */
	uint64_t device_rows;        /* token-expert pairs, with what tiles are filled up with */
	uint32_t streamed, together; /* misses that are copied, so many at a time; 0 is 1 */
	uint32_t on_cpu;
	double cpu_ns;   /* that the CPU computes for them */
	double cpu_duty; /* the part of that in which it is bound by the host's memory: 0 … 1 */
	uint32_t owed;   /* of those experts, how many were admitted */
	bool whole;      /* every expert of the layer is in a slot, and the call needs no host */
} timing_layer;

/* An expert with so many rows that the device computes. */
void timing_add_expert(const timing_terms *t, uint32_t rows, timing_layer *layer);

/* Nanoseconds by what they are spent on; of work that overlaps, what the next waits for. */
typedef enum timing_bound {
	TIMING_HBM,
	TIMING_COMPUTE,
	TIMING_LINK,
	TIMING_SHARED,
	TIMING_HOST,
	TIMING_BOUNDS,
} timing_bound;
const char *timing_bound_name(timing_bound bound); /* "hbm", … "cpu+link", "host overhead" */

/* Begins as zeros. */
typedef struct timing_step {
	double ns; /* until the device has done what was added */
	double parts_ns[TIMING_BOUNDS];
	double link_ns; /* that the link is busy, or link and CPU */
	/* The host's clock and the link's; ends of the last calls, in turn. */
	double host_at_ns, link_at_ns, call_end_ns[TIMING_CALLS_MAX];
	uint32_t calls;
	uint32_t owed;     /* copies that no layer waits for, and that have not begun */
	double owed_at_ns; /* the last of them that has begun ends */
	double busy_at_ns; /* until here link_ns has what is busy */
} timing_step;

/* The step after: copies that are owed or on their way still are. */
timing_step timing_next_step(const timing_step *before);

/* One expert over the link, beside a CPU that is bound by the host's memory for such a part of the time: 0 … 1. */
double timing_copy_ns(const timing_terms *t, double cpu_duty);
/* The same as an engine learns it: with what a copy costs beside its bytes. */
double timing_copy_learned_ns(const timing_terms *t, double cpu_duty);
/* By the CPU for so many rows: beside the link and alone; how much of it is bound by memory. */
double timing_cpu_ns(const timing_terms *t, uint32_t rows);
double timing_cpu_alone_ns(const timing_terms *t, uint32_t rows);
double timing_cpu_duty(const timing_terms *t, uint32_t rows);

/* A call of so many tokens whose experts, of a row each, are all in slots, but that waits for its ids. */
double timing_hit_ns(const timing_terms *t, uint32_t tokens, uint32_t experts);

/* Of the next layer: for how long the link is busy yet when the CPU could begin. */
double timing_link_busy_ns(const timing_terms *t, const timing_step *step);

/* A step is its layers added one by one. Starts copies that are owed: step->owed tells how many are left. */
void timing_add(const timing_terms *t, const timing_layer *layer, timing_step *step);

/* What most of the time goes to. */
timing_bound timing_binds(const timing_step *step);

#endif
