/* SPDX-License-Identifier: MIT */
/* Keeps what a run measured and checks that it adds up. */
#include "cli/bench/row.h"

#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "cli/exit.h"

ufm_status row_open(bench_row *row, const bench_config *config, placement_mode mode,
                    uint32_t experts)
{
	memset(row, 0, sizeof *row);
	row->mode = mode;
	row->experts = experts;
	bool plain = config->phase == PHASE_STEPS;
	snprintf(row->label, sizeof row->label, "%s%s%s", mode_name(mode), plain ? "" : " ",
	         plain ? "" : bench_phase_name((bench_phase)config->phase));
	row->step_ms = alloc_zeroed(config->steps, sizeof *row->step_ms);
	return row->step_ms ? UFM_OK : UFM_ENOMEM;
}

void row_close(bench_row *row)
{
	alloc_free(row->step_ms);
	row->step_ms = NULL;
}

const char *row_status_name(row_status status)
{
	return status == ROW_OK ? "ok" : status == ROW_OOM ? "oom" : "error";
}

void row_fail(bench_row *row, ufm_status cause)
{
	mode_failure failure;
	mode_explain(row->mode, cause, &failure);
	row->status = failure.out_of_memory ? ROW_OOM : ROW_ERROR;
	row->exit_code = failure.exit_code;
	snprintf(row->error, sizeof row->error, "%s", failure.error);
}

void row_refuse(bench_row *row, const char *why)
{
	row->status = ROW_ERROR;
	row->exit_code = CLI_FAILED;
	snprintf(row->error, sizeof row->error, "%s", why);
}

void row_interrupt(bench_row *row, const bench_config *config)
{
	row->status = ROW_ERROR;
	row->exit_code = CLI_INTERRUPTED;
	row->interrupted = true;
	snprintf(row->error, sizeof row->error, "interrupted after %u of %u measured steps",
	         row->measured, config->steps);
}

double row_step_ms_mean(const bench_row *row)
{
	double sum_ms = 0;
	for (uint32_t i = 0; i < row->measured; i++)
		sum_ms += row->step_ms[i];
	return row->measured ? sum_ms / row->measured : 0;
}

double row_step_ms_quantile(const bench_row *row, double share)
{
	uint32_t n = row->measured;
	double found, *sorted;
	if (n == 0)
		return 0;
	sorted = alloc_zeroed(n, sizeof *sorted);
	if (!sorted)
		return 0;
	memcpy(sorted, row->step_ms, n * sizeof *sorted);
	found = quantile_of(sorted, n, share);
	alloc_free(sorted);
	return found;
}

double row_tokens_per_s(const bench_row *row, const bench_config *config)
{
	double mean_ms = row_step_ms_mean(row);
	return mean_ms > 0 ? bench_tokens(config) * 1000.0 / mean_ms : 0;
}

double row_tokens_per_s_median(const bench_row *row, const bench_config *config)
{
	double median_ms = row_step_ms_quantile(row, 0.5);
	return median_ms > 0 ? bench_tokens(config) * 1000.0 / median_ms : 0;
}

uint32_t row_slots(const bench_row *row)
{
	return row->mode == MODE_NAIVE_OFFLOAD ? 0 : row->engine.slots;
}

bool row_is_cold(const bench_row *row)
{
	return row->warm && row->mode != MODE_NAIVE_OFFLOAD && row->free_places > 0;
}

void row_check(bench_row *row)
{
	mode_figures figures = {.counters = row->counters,
	                        .engine = &row->engine,
	                        .expert_bytes = row->expert_bytes,
	                        .peak_bytes = row->peak_held_bytes > row->peak_live_bytes
	                                          ? row->peak_held_bytes
	                                          : row->peak_live_bytes};
	if (row->status != ROW_OK || mode_adds_up(row->mode, &figures, row->error))
		return;
	row->status = ROW_ERROR;
	row->exit_code = CLI_FAILED;
}
