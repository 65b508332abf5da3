/* SPDX-License-Identifier: MIT */
/* The link, by copies as loads make them: alone, and beside a CPU that reads the same memory. Whoever wants to know
 * what either gives measures it here; what works on the CPU is the caller's. */
#ifndef UFM_PROBE_LINK_H
#define UFM_PROBE_LINK_H

#include <stdbool.h>

#include "probe/timed.h"

/* Where a copy may go, and what it brings there. */
typedef struct probe_copy {
	ufm_devptr to;
	const void *from;
} probe_copy;

typedef struct probe_link {
	timed timed;
	uint32_t together;     /* blocks that one copy brings: 1 … BUDGET_TOGETHER */
	uint64_t expert_bytes; /* of a block */
	/* The next block; those of one copy must differ in where they go. */
	probe_copy (*next)(void *ctx);
	void *ctx;
} probe_link;

/* Asked again and again by whoever works on the CPU, on the thread that it was called on: whether to go on. */
typedef bool (*probe_more)(void *ctx);

/* Works on the CPU until `more` says no and gives decimal GB/s; 0: that was too short for it. */
typedef double (*probe_work_until)(void *ctx, probe_more more, void *more_ctx);
typedef struct probe_cpu {
	probe_work_until work;
	void *ctx;
} probe_cpu;

typedef struct probe_both {
	double link_gbps, cpu_gbps;
} probe_both;

/* Decimal GB/s of expert bytes, a median, in about budget_ns. */
ufm_status probe_link_alone(probe_link *link, uint64_t budget_ns, double *gbps);
/* Both at once, in so many parts of the budget, of which the median by the sum counts: what is measured in one go others
 * may disturb. alone_gbps: what the link alone gives, so that a part lasts as long as it should; longer where it was too
 * short for the CPU, but not for ever: then cpu_gbps is 0. */
#define PROBE_PARTS_MAX 7u
ufm_status probe_link_beside(probe_link *link, const probe_cpu *cpu, uint64_t budget_ns,
                             uint32_t parts, double alone_gbps, probe_both *out);

#endif
