/* SPDX-License-Identifier: MIT */
/* Keeps what a run measured and checks that it adds up. */
#include "cli/bench/row.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/exit.h"

ufm_status row_open(bench_row *row, const bench_config *config, bench_mode mode, uint32_t experts)
{
	memset(row, 0, sizeof *row);
	row->mode = mode;
	row->experts = experts;
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

/* The cause in terms of the option that can mend it. */
static const char *option_of(const bench_row *row, ufm_status cause)
{
	const char *line = ufm_last_error();
	if (strncmp(line, "ring_slots", 10) == 0)
		return "--ring: ";
	if (strncmp(line, "vram-limit", 10) == 0)
		return "--";
	if (row->mode == MODE_UFM)
		return cause == UFM_EBUDGET || cause == UFM_EDEVMEM ? "--vram-target: " : "";
	return cause == UFM_EBUDGET ? "--vram-limit: " : "";
}

void row_fail(bench_row *row, ufm_status cause)
{
	const char *line = ufm_last_error();
	row->status = cause == UFM_EDEVMEM ? ROW_OOM : ROW_ERROR;
	row->exit_code = row->status == ROW_OOM && row->mode == MODE_BASELINE ? CLI_OK : exit_of(cause);
	snprintf(row->error, sizeof row->error, "%s%s", option_of(row, cause),
	         *line ? line : ufm_strerror(cause));
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double row_step_ms_median(const bench_row *row)
{
	uint32_t n = row->measured;
	double median, *sorted;
	if (n == 0)
		return 0;
	sorted = alloc_zeroed(n, sizeof *sorted);
	if (!sorted)
		return 0;
	memcpy(sorted, row->step_ms, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, compare);
	median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
	alloc_free(sorted);
	return median;
}

double row_tokens_per_s(const bench_row *row, const bench_config *config)
{
	double median = row_step_ms_median(row);
	return median > 0 ? bench_tokens(config) * 1000.0 / median : 0;
}

static void broken(bench_row *row, const char *what, uint64_t found, uint64_t expected)
{
	row->status = ROW_ERROR;
	row->exit_code = CLI_FAILED;
	snprintf(row->error, sizeof row->error,
	         "the figures do not add up: %s is %" PRIu64 ", expected %" PRIu64, what, found,
	         expected);
}

static void check_counters(bench_row *row)
{
	const uint64_t *c = row->counters;
	uint64_t paths = c[COUNTER_resident_uses] + c[COUNTER_streamed_uses] + c[COUNTER_cpu_uses];
	uint64_t loads = c[COUNTER_streamed_uses] + c[COUNTER_prefetch_loads];
	uint64_t back = row->mode == MODE_NAIVE_OFFLOAD ? loads * row->expert_bytes : 0;
	if (c[COUNTER_uses] != paths)
		broken(row, "uses", c[COUNTER_uses], paths);
	else if (c[COUNTER_h2d_weight_bytes] != loads * row->expert_bytes)
		broken(row, "h2d_weight_bytes", c[COUNTER_h2d_weight_bytes], loads * row->expert_bytes);
	else if (c[COUNTER_d2h_weight_bytes] != back)
		broken(row, "d2h_weight_bytes", c[COUNTER_d2h_weight_bytes], back);
	else if (row->mode == MODE_BASELINE && c[COUNTER_streamed_uses])
		broken(row, "streamed_uses of the baseline", c[COUNTER_streamed_uses], 0);
	else if (c[COUNTER_failed_uses])
		broken(row, "failed_uses", c[COUNTER_failed_uses], 0);
}

static void check_budget(bench_row *row)
{
	uint64_t budget = row->engine.vram_target_bytes - row->engine.headroom_bytes;
	uint64_t limit = row->engine.vram_limit_bytes;
	uint64_t held =
		row->peak_held_bytes > row->peak_live_bytes ? row->peak_held_bytes : row->peak_live_bytes;
	if (row->mode == MODE_UFM && held > budget)
		broken(row, "device memory held (at most target less headroom)", held, budget);
	else if (limit && held > limit)
		broken(row, "device memory held (at most the limit)", held, limit);
}

void row_check(bench_row *row)
{
	if (row->status == ROW_OK)
		check_counters(row);
	if (row->status == ROW_OK)
		check_budget(row);
}
