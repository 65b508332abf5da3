/* SPDX-License-Identifier: MIT */
/* A row's limit: the reads that nobody could have spared, and the time that they and the floor leave. */
#include "cli/bench/row.h"
#include "cli/json_put.h"
#include "replay/limit.h"

/* Before the first step, so that no read is left for the steps. */
static bool all_loaded_ahead(const bench_row *row, const bench_config *c)
{
	bool all_fit = row_slots(row) >= (uint64_t)c->layers * row->experts;
	return all_fit && (row->mode == MODE_BASELINE || row->warmed > 0);
}

/* Of a mode without slots every use is a read, which says nothing about it. */
ufm_status row_find_limit(bench_row *row, const bench_config *c, const workload *load)
{
	const trace *routing = workload_routing(load);
	if (!routing || row->measured == 0 || row_slots(row) == 0)
		return UFM_OK;
	limit_run run = {.routing = routing,
	                 .layers = c->layers,
	                 .experts = row->experts,
	                 .tokens = bench_tokens(c),
	                 .sequences = c->phase == PHASE_DECODE ? c->batch : 0,
	                 .slots = row_slots(row),
	                 .warmup = row->warmed,
	                 .steps = row->measured};
	double reads = 0;
	ufm_status status = all_loaded_ahead(row, c) ? UFM_OK : limit_reads(&run, &reads);
	if (status)
		return status;
	row->limit_known = true;
	row->limit_reads = reads;
	return UFM_OK;
}

static double rate_of(const bench_row *row)
{
	const probe_rates *r = &row->rates;
	return limit_gbps(r->link_gbps, r->sum_link_gbps, r->sum_cpu_gbps);
}

bool row_limit_ms(const bench_row *row, const bench_config *c, double *ms)
{
	step_floor floor;
	if (!row->limit_known || !row_floor(row, c, &floor))
		return false;
	*ms = limit_ms(floor.resident_ms, row->limit_reads, (double)row->expert_bytes, rate_of(row));
	return true;
}

void row_put_limit(row_values *out, const bench_row *row, const bench_config *c)
{
	double ms = 0, mean_ms = row_step_ms_mean(row);
	bool known = row_limit_ms(row, c, &ms);
	row_put(out, ROW_limit_ms, json_known(known, ms));
	row_put(out, ROW_fraction_of_limit, json_known(known && mean_ms > 0, ms / mean_ms));
	row_put(out, ROW_limit_reads, json_known(row->limit_known, row->limit_reads));
	row_put(out, ROW_limit_gbps, json_known(known, rate_of(row)));
}
