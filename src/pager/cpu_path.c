/* SPDX-License-Identifier: MIT */
/* The CPU path of an engine: whether it is on, its threads, its buffers. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/status.h"
#include "pager/pager_int.h"

/* The path must bring so much to be worth the cores it takes. */
#define GAIN_MIN 1.05
#define PROBE_ROWS ASSIST_AHEAD /* that the probe writes */

ufm_status cpu_path_check(const ufm_engine_config *c)
{
	if (c->cpu_assist > UFM_CPU_ON)
		return status_fail(UFM_EINVAL,
		                   "cpu_assist: %u, expected UFM_CPU_AUTO, UFM_CPU_OFF or UFM_CPU_ON",
		                   c->cpu_assist);
	if (c->cpu_threads > ASSIST_THREADS_MAX)
		return status_fail(UFM_EINVAL, "cpu_threads: %u, expected at most %u", c->cpu_threads,
		                   ASSIST_THREADS_MAX);
	if (c->cpu_share_percent > 100)
		return status_fail(UFM_EINVAL, "cpu_share_percent: %u, expected at most 100",
		                   c->cpu_share_percent);
	if (c->cpu_assist == UFM_CPU_OFF && (c->cpu_threads || c->cpu_share_percent))
		return status_fail(UFM_EINVAL, "cpu_threads and cpu_share_percent: expected 0 with "
		                               "UFM_CPU_OFF");
	return UFM_OK;
}

/* ------------------------------------------------------------------ buffers */

static uint64_t rows_for(const ufm_engine *e)
{
	uint64_t assignments = (uint64_t)e->config.call_tokens_max * e->config.top_k_max;
	uint64_t fit = PAGER_CPU_BUFFER_BYTES / (4ull * e->desc.d_model);
	uint64_t rows = e->config.cpu_share_percent || assignments < fit ? assignments : fit;
	return rows > PROBE_ROWS ? rows : PROBE_ROWS;
}

static ufm_status open_buffer(ufm_engine *e, const char *what, uint32_t rows, pinned *memory,
                              float **host)
{
	uint64_t size_bytes = 4ull * e->desc.d_model * rows;
	ufm_status status = pinned_open(e->b, what, size_bytes, memory);
	if (status != UFM_OK)
		return status;
	*host = (float *)(void *)memory->memory;
	return UFM_OK;
}

static bool is_cpu(const ufm_engine *e)
{
	return strcmp(e->b->name, "cpu") == 0;
}

static ufm_status open_pool(ufm_engine *e, uint32_t threads)
{
	pager_cpu *cpu = &e->cpu;
	for (uint32_t i = 0; i < CHOICE_SIZES; i++)
		cpu->near[i] = 1; /* until something is known */
	cpu->taken = 1;
	e->demand.choosy = true;
	admit_open(&e->demand.admit, &(admit_terms){0});
	cpu->rows_max = (uint32_t)rows_for(e);
	cpu->share_percent = e->config.cpu_share_percent;
	e->demand.shares_always = cpu->share_percent != 0;
	cpu->table = (float *)(void *)e->host_table.memory;
	cpu->costs = alloc_zeroed(e->experts, sizeof *cpu->costs);
	ufm_status status = cpu->costs ? UFM_OK : UFM_ENOMEM;
	if (status == UFM_OK)
		status = open_buffer(e, "inputs of the CPU path", PAGER_OFFERED + cpu->rows_max, &e->cpu_x,
		                     &cpu->x);
	if (status == UFM_OK)
		status = e->b->host_view(e->device, cpu->x, &cpu->x_view);
	if (status == UFM_OK)
		status = open_buffer(e, "outputs of the CPU path", cpu->rows_max, &e->cpu_y, &cpu->y);
	if (status == UFM_OK)
		status = e->b->host_view(e->device, cpu->y, &cpu->y_view);
	/* Beside the cpu backend its own kernels, so that every bit is the same. */
	assist_config config = {.desc = &e->desc,
	                        .kernels = is_cpu(e) ? kernels_best() : NULL,
	                        .threads = threads,
	                        .experts_max = e->experts,
	                        .rows_max = cpu->rows_max};
	if (status == UFM_OK)
		status = assist_open(&config, &cpu->pool);
	e->owed.pool = is_cpu(e) ? NULL : cpu->pool;
	return status;
}

void cpu_path_close(ufm_engine *e)
{
	assist_close(e->cpu.pool);
	alloc_free(e->cpu.costs);
	pinned_close(e->b, &e->cpu_y);
	pinned_close(e->b, &e->cpu_x);
	e->cpu = (pager_cpu){0};
	e->demand.choosy = false;
	e->owed.pool = NULL;
}

/* ------------------------------------------------------------------ on or off */

/* Why there is nothing to measure, or NULL. */
static const char *pointless(const ufm_engine *e, uint32_t threads)
{
	if (e->config.max_tokens == 0)
		return "off: the layer level is not used";
	if (e->plan.slots == e->layers * e->experts)
		return "off: every expert has a slot";
	if (is_cpu(e) && e->device_info.link_gbps <= 0)
		return "off: the device is this CPU";
	return threads == 0 ? "off: there is one core, and the driver needs it" : NULL;
}

static ufm_status measure(ufm_engine *e)
{
	ufm_status status = pager_probe(e, &e->rates);
	if (status != UFM_OK)
		return status;
	double alone = e->rates.link_alone_gbps, sum = e->rates.sum_gbps;
	bool pays = sum >= GAIN_MIN * alone;
	log_info("CPU path %s: the link alone moves %.1f GB/s of experts, link and %u threads together "
	         "%.1f (%.1f and %.1f)",
	         pays ? "on" : "off", alone, assist_threads(e->cpu.pool), sum, e->rates.link_gbps,
	         e->rates.cpu_gbps);
	if (pays) {
		e->loads.copy_ns = e->rates.copy_ns;
		cost_learn(&e->cpu.cost, 1, e->rates.expert_ns);
	} else {
		snprintf(e->cpu_why, sizeof e->cpu_why,
		         "off: the link alone moves %.1f GB/s, link and CPU together %.1f", alone, sum);
		cpu_path_close(e);
	}
	return UFM_OK;
}

ufm_status cpu_path_open(ufm_engine *e)
{
	const ufm_engine_config *c = &e->config;
	uint32_t threads = c->cpu_threads ? c->cpu_threads : assist_threads_default();
	bool asked = c->cpu_assist == UFM_CPU_ON || c->cpu_share_percent;
	const char *why = NULL;
	if (c->cpu_assist == UFM_CPU_OFF)
		why = "off";
	else if (asked)
		why = c->max_tokens == 0 ? "off: the layer level is not used" : NULL;
	else
		why = pointless(e, threads);
	snprintf(e->cpu_why, sizeof e->cpu_why, "%s", why ? why : "on");
	if (why)
		return UFM_OK;
	e->cpu.chooses = !asked;
	ufm_status status = open_pool(e, threads ? threads : 1);
	return status == UFM_OK && !asked ? measure(e) : status;
}
