/* SPDX-License-Identifier: MIT */
/* Two probes of one machine. */
#include "probe/probe.h"

static void keep(double *best, double again)
{
	*best = again > *best ? again : *best;
}

void probe_keep_better(probe_rates *best, const probe_rates *again)
{
	keep(&best->link_gbps, again->link_gbps);
	keep(&best->hbm_gbps, again->hbm_gbps);
	keep(&best->dram_gbps, again->dram_gbps);
	keep(&best->gflops, again->gflops);
	if (again->sum_link_gbps + again->sum_cpu_gbps > best->sum_link_gbps + best->sum_cpu_gbps) {
		best->sum_link_gbps = again->sum_link_gbps;
		best->sum_cpu_gbps = again->sum_cpu_gbps;
	}
	best->threads = again->threads;
}
