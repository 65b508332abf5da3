/* SPDX-License-Identifier: MIT */
/* Made experts, a host tier and an engine for as long as the probes take. */
#include "plan/probed.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "pager/pager.h"

#define PROBE_NS 60000000u
#define TOKENS 512u
/* Enough for copies to leave the caches and for a range of device memory to be read, no more than must be made. */
#define BANK_BYTES ((uint64_t)384 << 20)
#define EXPERTS_MIN 4u
#define EXPERTS_MAX 256u

typedef struct prober {
	const probe_machine_config *config;
	limits here;
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
} prober;

static uint32_t experts_for(const ufm_expert_desc *desc, uint32_t top_k)
{
	uint64_t fit = BANK_BYTES / desc->block_bytes;
	uint32_t least = top_k > EXPERTS_MIN ? top_k : EXPERTS_MIN;
	return fit < least ? least : fit > EXPERTS_MAX ? EXPERTS_MAX : (uint32_t)fit;
}

static ufm_status open_host(prober *p)
{
	const probe_machine_config *c = p->config;
	ufm_bank_synthetic_config bank;
	ufm_host_config host;
	UFM_STRUCT_INIT(&bank);
	bank.desc = c->desc;
	bank.layers = 1;
	bank.experts = experts_for(c->desc, c->top_k);
	bank.seed = 1;
	ufm_status status = ufm_bank_synthetic(&bank, &p->bank);
	if (status)
		return status;
	UFM_STRUCT_INIT(&host);
	host.backend = c->backend;
	host.fill_threads = p->here.cores;
	host.progress = c->progress;
	host.progress_ctx = c->progress_ctx;
	host.stop = c->stop;
	host.stop_ctx = c->stop_ctx;
	return ufm_host_open(p->bank, &host, &p->host);
}

static ufm_status open_engine(prober *p)
{
	ufm_engine_config engine;
	UFM_STRUCT_INIT(&engine);
	engine.resident_all = 1;
	engine.max_tokens = TOKENS;
	engine.top_k_max = p->config->top_k;
	engine.cpu_assist = UFM_CPU_OFF;
	engine.link_gbps = p->config->link_gbps;
	return ufm_engine_open(p->host, &engine, &p->engine);
}

static ufm_status probe_engine(prober *p, probe_rates *out)
{
	pager_probe_config config = {.budget_ns = PROBE_NS};
	ufm_status status = pager_load_all(p->engine, p->config->stop, p->config->stop_ctx);
	return status ? status : pager_probe_all(p->engine, &config, out);
}

static void describe(const prober *p, probe_machine_found *out)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(p->engine, &info);
	out->emulated_gbps = info.link_gbps;
	out->lockable_bytes = limits_lockable_bytes(&p->here);
	out->cores = p->here.cores;
	snprintf(out->backend, sizeof out->backend, "%s", info.backend);
	snprintf(out->device, sizeof out->device, "%s", info.device);
}

ufm_status probe_machine(const probe_machine_config *config, probe_machine_found *out)
{
	prober p = {.config = config};
	probe_machine_found found = {.emulated_gbps = 0};
	limits_read(&p.here);
	ufm_status status = open_host(&p);
	if (!status)
		status = open_engine(&p);
	if (!status)
		status = probe_engine(&p, &found.rates);
	if (!status) {
		describe(&p, &found);
		*out = found;
	}
	ufm_engine_close(p.engine);
	ufm_host_close(p.host);
	ufm_bank_close(p.bank);
	return status;
}
