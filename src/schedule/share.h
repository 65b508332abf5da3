/* SPDX-License-Identifier: MIT */
/* Which of a layer's misses the CPU computes beside the link. Engine and plan ask here. Pure. */
#ifndef UFM_SCHEDULE_SHARE_H
#define UFM_SCHEDULE_SHARE_H

#include "schedule/schedule.h"

/* Copies in the time of which the CPU must have computed an expert. The CPU and the copies share the host's
 * memory: a copy beside the CPU takes up to a tenth longer, which the CPU must win back at least. */
#define SHARE_COPIES_WORTH 8u

typedef struct share_terms {
	uint64_t copy_ns;  /* of an expert over the link */
	uint64_t rows_max; /* that the CPU's buffers hold */
} share_terms;

/* How many of n misses, in the order of schedule_layer and counted from the last, which is the lightest, the
 * CPU could come to: they fit its buffers, none costs it more than SHARE_COPIES_WORTH copies, and all of them
 * not more than twice what the link would take for all n, because costs may be wrong by so much. cpu_ns [n] is
 * what each costs the CPU, from the lightest. */
uint32_t share_candidates(const share_terms *terms, const schedule_demand *misses, uint32_t n,
                          const uint64_t *cpu_ns);

/* What link and CPU have before them, and what more would cost. */
typedef struct share_rates {
	uint64_t link_ns;      /* one more copy */
	uint64_t link_busy_ns; /* until the copies in flight have ended */
	uint64_t cpu_busy_ns;  /* until the CPU has done what it was given */
	uint64_t cpu_start_ns; /* once, if the CPU takes any: submitting, and merging what comes back */
	uint32_t link_only;    /* misses, the heaviest, that only the link can take */
} share_rates;

/* Of n misses that nobody has taken yet, how many, counted from the lightest, the CPU should compute so that
 * the later of link and CPU ends as early as possible; the fewest of several that do. cpu_ns [n] as above. It
 * is asked again whenever something ended, so that wrong rates cost little. */
uint32_t share_split(const share_rates *rates, const uint64_t *cpu_ns, uint32_t n);

#endif
