/* SPDX-License-Identifier: MIT */
/* Routing to rows and entries on the stream's thread: counts, first rows, then every assignment in
 * order. */
#include <string.h>

#include "base/status.h"
#include "device/cpu/cpu_int.h"

/* Through uint32_t a negative id is out of range like one that is too large. */
static bool is_expert(const ufm_group_args *a, int32_t id)
{
	return (uint32_t)id < a->experts;
}

static void count_rows(const ufm_group_args *a, uint64_t assignments, uint32_t *counts)
{
	const int32_t *ids = cpu_host(a->ids);

	memset(counts, 0, a->experts * sizeof *counts);
	for (uint64_t i = 0; i < assignments; i++) {
		if (is_expert(a, ids[i]))
			counts[ids[i]]++;
	}
}

/* An entry for every expert with rows; counts become first rows. Returns the number of rows. */
static uint32_t write_entries(const ufm_group_args *a, uint64_t assignments, uint32_t *counts)
{
	const uint64_t *blocks = cpu_host(a->blocks);
	ufm_expert_rows *entries = cpu_host(a->entries);
	uint64_t room = assignments < a->experts ? assignments : a->experts, used = 0;
	uint32_t row = 0;

	for (uint32_t e = 0; e < a->experts; e++) {
		uint32_t rows = counts[e];
		if (rows)
			entries[used++] = (ufm_expert_rows){.block = blocks[e], .row = row, .rows = rows};
		counts[e] = row;
		row += rows;
	}
	memset(entries + used, 0, (room - used) * sizeof *entries);
	return row;
}

/* Counts become the first rows that were given. Returns the number of rows. */
static uint32_t take_first_rows(const ufm_group_args *a, uint32_t *counts)
{
	uint32_t rows = 0;

	for (uint32_t e = 0; e < a->experts; e++) {
		rows += counts[e];
		counts[e] = a->first_rows[e];
	}
	return rows;
}

static void place_rows(const ufm_group_args *a, uint64_t assignments, uint32_t *next_row,
                       uint32_t rows)
{
	const int32_t *ids = cpu_host(a->ids);
	uint32_t *row_of = cpu_host(a->row_of), *row_token = cpu_host(a->row_token);

	for (uint64_t i = 0; i < assignments; i++) {
		row_of[i] = is_expert(a, ids[i]) ? next_row[ids[i]]++ : UFM_ROW_NONE;
		if (row_of[i] != UFM_ROW_NONE)
			row_token[row_of[i]] = (uint32_t)(i / a->top_k);
	}
	memset(row_token + rows, 0, (assignments - rows) * sizeof *row_token);
}

void cpu_run_group(ufm_device *device, const ufm_group_args *args)
{
	uint64_t assignments = (uint64_t)args->tokens * args->top_k;
	uint32_t *counts = (uint32_t *)(void *)device->scratch;

	lock_take(&device->compute_lock);
	count_rows(args, assignments, counts);
	uint32_t rows =
		args->first_rows ? take_first_rows(args, counts) : write_entries(args, assignments, counts);
	place_rows(args, assignments, counts, rows);
	lock_drop(&device->compute_lock);
	if (args->ids_out)
		memcpy(cpu_host(args->ids_out), cpu_host(args->ids), assignments * sizeof(int32_t));
}

ufm_status cpu_group(ufm_stream *stream, const ufm_group_args *args)
{
	cpu_command command = {.op = CPU_OP_GROUP, .group = *args};
	uint64_t assignments = (uint64_t)args->tokens * args->top_k;

	if (args->experts < 1 || args->experts > CPU_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "group: %u experts, expected 1 … %u", args->experts,
		                   CPU_EXPERTS_MAX);
	if (assignments > UFM_GROUP_MAX)
		return status_fail(UFM_EINVAL,
		                   "group: %u tokens, top_k %u, expected a product of at most 2^30",
		                   args->tokens, args->top_k);
	if (assignments == 0)
		return UFM_OK;
	if (!args->ids || !args->row_of || !args->row_token ||
	    (!args->first_rows && (!args->blocks || !args->entries)))
		return status_fail(UFM_EINVAL, "group of %u tokens: an address is 0", args->tokens);
	if (args->first_rows && (args->experts > UFM_FIRST_ROWS || args->blocks || args->entries))
		return status_fail(UFM_EINVAL,
		                   "group by first_rows: %u experts, expected at most %u, and no entries",
		                   args->experts, UFM_FIRST_ROWS);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}
