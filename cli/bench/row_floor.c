/* SPDX-License-Identifier: MIT */
/* What a row's floor is computed from. */
#include <stdio.h>
#include <string.h>

#include "cli/bench/row.h"
#include "cli/exit.h"

static double parameters(const bench_config *c)
{
	double matrices = bench_kind(c) == UFM_EXPERT_GATED ? 3 : 2;
	return matrices * c->d_model * c->d_hidden;
}

/* Uses of one layer in one step, on average. */
static double mean(const bench_row *row, const bench_config *c, uint64_t uses)
{
	return (double)uses / row->measured / c->layers;
}

bool row_floor(const bench_row *row, const bench_config *c, step_floor *out)
{
	const uint64_t *counted = row->counters;
	uint64_t uses = counted[COUNTER_uses], resident = counted[COUNTER_resident_uses];
	if (!row->probed || row->measured == 0)
		return false;
	const char *source;
	floor_rates rates = {.hbm_gbps = row->rates.hbm_gbps,
	                     .link_gbps = row->rates.link_gbps,
	                     .sum_link_gbps = row->rates.sum_link_gbps,
	                     .sum_cpu_gbps = row->rates.sum_cpu_gbps,
	                     .peak_gflops = peak_used(&row->peak, row->rates.gflops, &source)};
	floor_demand demand = {.layers = c->layers,
	                       .experts = row->experts,
	                       .slots = row_slots(row),
	                       .touched = mean(row, c, uses),
	                       .missed = mean(row, c, uses > resident ? uses - resident : 0),
	                       .operations =
	                           2.0 * bench_tokens(c) * c->top_k * parameters(c) * c->layers,
	                       .expert_bytes = row->expert_bytes,
	                       .cpu = row->engine.cpu_threads > 0};
	return floor_of_step(&demand, &rates, out);
}

double row_fraction_of_floor(const bench_row *row, const step_floor *floor)
{
	double step_ms = row_step_ms_mean(row);
	return step_ms > 0 ? floor->step_ms / step_ms : 0;
}

bool row_beats_floor(const bench_row *row, const bench_config *c)
{
	step_floor floor;
	if (strcmp(row->backend, "cpu") == 0)
		return false;
	return row->status == ROW_OK && row_floor(row, c, &floor) &&
	       row_fraction_of_floor(row, &floor) > FLOOR_BEATEN;
}

void row_fail_floor(bench_row *row, const bench_config *c)
{
	step_floor floor;
	if (!row_floor(row, c, &floor))
		return;
	row->status = ROW_ERROR;
	row->exit_code = CLI_FAILED;
	snprintf(row->error, sizeof row->error,
	         "measured twice, found steps %.2f times as fast as their floor (%s), expected at most "
	         "%.2f: the machine's rates changed between probes and steps",
	         row_fraction_of_floor(row, &floor), floor_bound_name(floor.bound), FLOOR_BEATEN);
}

double row_link_gbps_used(const bench_row *row)
{
	double spent_ms = row_step_ms_mean(row) * row->measured;
	return spent_ms > 0 ? (double)row->counters[COUNTER_h2d_weight_bytes] / spent_ms / 1e6 : 0;
}

double row_overlap(const bench_row *row)
{
	double stall_ns = (double)row->counters[COUNTER_stall_ns];
	double copy_ns = (double)row->counters[COUNTER_copy_ns];
	return stall_ns < copy_ns ? 1 - stall_ns / copy_ns : 0;
}
