/* SPDX-License-Identifier: MIT */
/* What is assumed of a device that is not there, in this one place: memory is mapped by the granule that the CUDA
 * plugin gets from every driver so far, or that the cpu backend has; hidden rows are f32 on both. */
#include "plan/machine.h"

#include <string.h>

#include "base/status.h"

#define CUDA_GRANULE_BYTES ((uint64_t)2 << 20)
#define CPU_GRANULE_BYTES ((uint64_t)64 << 10)

uint64_t machine_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows)
{
	return (uint64_t)rows * desc->d_hidden * sizeof(float);
}

timing_rates machine_rates_of_probe(const probe_rates *found)
{
	return (timing_rates){.link_gbps = found->link_gbps,
	                      .hbm_gbps = found->hbm_gbps,
	                      .dram_gbps = found->dram_gbps,
	                      .sum_link_gbps = found->sum_link_gbps,
	                      .sum_cpu_gbps = found->sum_cpu_gbps,
	                      .peak_gflops = found->gflops,
	                      .cpu_threads = found->threads};
}

/* Both read the host's memory, so their sum is less than the two alone. */
static void derive_sum(plan_machine *m, const timing_costs *costs)
{
	timing_rates *r = &m->rates;
	if (r->sum_link_gbps > 0 || !(r->dram_gbps > 0))
		return;
	r->sum_link_gbps = costs->sum_link * r->link_gbps;
	r->sum_cpu_gbps = costs->sum_cpu * r->dram_gbps;
	m->sum_assumed = true;
}

ufm_status machine_finish(plan_machine *m)
{
	const timing_costs *costs = timing_costs_of(m->backend);
	if (!costs)
		return status_fail(UFM_EBACKEND,
		                   "backend %s: its costs were never measured, expected cuda or cpu",
		                   m->backend);
	m->granularity_bytes = strcmp(m->backend, "cpu") == 0 ? CPU_GRANULE_BYTES : CUDA_GRANULE_BYTES;
	derive_sum(m, costs);
	return UFM_OK;
}
