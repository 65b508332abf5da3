/* SPDX-License-Identifier: MIT */
/* This machine, by the probes of `ufm bench` on an engine of a few experts of the same size. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/status.h"
#include "cli/bench/probe.h"
#include "cli/machine.h"
#include "cli/message.h"
#include "cli/modes/filling.h"
#include "cli/modes/options.h"
#include "cli/modes/resident.h"
#include "cli/plan/machine.h"
#include "device/registry.h"

#define PROBE_NS 60000000u
#define TOKENS 512u
/* Enough for copies to leave the caches and for a range of device memory to be read, no more than must be made. */
#define BANK_BYTES ((uint64_t)384 << 20)
#define EXPERTS_MIN 4u
#define EXPERTS_MAX 256u

typedef struct prober {
	const ufm_expert_desc *desc;
	const machine_given *given;
	const ufm_backend *backend;
	uint32_t top_k;
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
	filling bar;
} prober;

static uint32_t experts_for(const ufm_expert_desc *desc, uint32_t top_k)
{
	uint64_t fit = BANK_BYTES / desc->block_bytes;
	uint32_t least = top_k > EXPERTS_MIN ? top_k : EXPERTS_MIN;
	return fit < least ? least : fit > EXPERTS_MAX ? EXPERTS_MAX : (uint32_t)fit;
}

static ufm_status open_host(prober *p)
{
	ufm_bank_synthetic_config bank;
	ufm_host_config host;
	limits here;
	UFM_STRUCT_INIT(&bank);
	bank.desc = *p->desc;
	bank.layers = 1;
	bank.experts = experts_for(p->desc, p->top_k);
	bank.seed = 1;
	ufm_status status = ufm_bank_synthetic(&bank, &p->bank);
	if (status)
		return status;
	limits_read(&here);
	UFM_STRUCT_INIT(&host);
	host.backend = p->backend->name;
	host.fill_threads = here.cores;
	snprintf(p->bar.what, sizeof p->bar.what, "probing this machine");
	filling_watch(&p->bar, &host);
	return ufm_host_open(p->bank, &host, &p->host);
}

static ufm_status open_engine(prober *p)
{
	ufm_engine_config engine;
	UFM_STRUCT_INIT(&engine);
	engine.resident_all = 1;
	engine.max_tokens = TOKENS;
	engine.top_k_max = p->top_k;
	engine.cpu_assist = UFM_CPU_OFF;
	if (p->backend == &cpu_backend)
		engine.link_gbps = p->given->link_gbps;
	return ufm_engine_open(p->host, &engine, &p->engine);
}

static ufm_status probe_open(prober *p, probe_rates *rates)
{
	ufm_bank_info info;
	probe_config config = {.budget_ns = PROBE_NS};
	ufm_status status = open_host(p);
	if (!status)
		status = open_engine(p);
	if (status)
		return status;
	ufm_bank_get_info(p->bank, &info);
	status = resident_load_all(p->engine, &info);
	config.engine = p->engine;
	if (!status)
		status = probe_all(&config, rates);
	return status;
}

static void describe(const prober *p, const probe_rates *found, plan_machine *m)
{
	ufm_engine_info info;
	limits here;
	ufm_engine_get_info(p->engine, &info);
	limits_read(&here);
	m->rates = (timing_rates){.link_gbps = found->link_gbps,
	                          .hbm_gbps = found->hbm_gbps,
	                          .dram_gbps = found->dram_gbps,
	                          .sum_link_gbps = found->sum_link_gbps,
	                          .sum_cpu_gbps = found->sum_cpu_gbps,
	                          .peak_gflops = found->gflops,
	                          .cpu_threads = found->threads};
	m->emulated_gbps = info.link_gbps;
	m->ram_bytes = limits_lockable_bytes(&here);
	snprintf(m->backend, sizeof m->backend, "%s", info.backend);
	char model[128];
	bool named = machine_read_key("/proc/cpuinfo", "model name", model, sizeof model);
	snprintf(m->words, sizeof m->words,
	         "this machine (%s%s%u cores), %s, probed now with blocks of that size",
	         named ? model : "", named ? ", " : "", here.cores, info.device);
}

ufm_status machine_probe(const ufm_expert_desc *desc, uint32_t top_k, const machine_given *given,
                         plan_machine *out)
{
	prober p = {.desc = desc, .given = given, .top_k = top_k};
	probe_rates rates = {0};
	plan_machine m = {0};
	ufm_status status = mode_find_backend(given->backend, &p.backend);
	if (status)
		return status;
	message_progress("probing this machine");
	status = probe_open(&p, &rates);
	if (!status) {
		/* A link that was emulated was probed as such. */
		machine_given said = *given;
		if (p.backend == &cpu_backend)
			said.link_gbps = 0;
		describe(&p, &rates, &m);
		machine_describe(&said, &m);
		status = machine_finish(&m);
	}
	message_progress_clear();
	ufm_engine_close(p.engine);
	ufm_host_close(p.host);
	ufm_bank_close(p.bank);
	if (!status)
		*out = m;
	return status;
}
