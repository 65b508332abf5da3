/* SPDX-License-Identifier: MIT */
/* Reads runs.jsonl line by line. */
#include "cli/plot/rows.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "base/status.h"
#include "cli/json_field.h"
#include "cli/row_fields.h"
#include "cli/row_lines.h"

typedef struct reader {
	const char *folder;
	plot_rows *out;
} reader;

/* Mode names end up in file names and scripts. */
static bool plain_name(const char *text)
{
	return text && *text && strlen(text) < 32 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

static ufm_status find_mode(const reader *r, const char *name, uint32_t *index)
{
	plot_rows *out = r->out;
	for (uint32_t i = 0; i < out->mode_count; i++)
		if (strcmp(out->modes[i], name) == 0) {
			*index = i;
			return UFM_OK;
		}
	if (out->mode_count == PLOT_MODES_MAX)
		return status_fail(UFM_EFORMAT, "expected at most %d different modes and phases",
		                   PLOT_MODES_MAX);
	snprintf(out->modes[out->mode_count], sizeof out->modes[0], "%.31s", name);
	*index = out->mode_count++;
	return UFM_OK;
}

static ufm_status note_where(plot_rows *out, const json_t *row)
{
	double link_gbps;
	uint64_t target_bytes, limit_bytes;
	ufm_status status = row_number(row, &row_fields[ROW_link_gbps_emulated], &link_gbps);
	if (!status)
		status = row_whole(row, &row_fields[ROW_vram_target_bytes], &target_bytes);
	if (!status)
		status = row_whole(row, &row_fields[ROW_vram_limit_bytes], &limit_bytes);
	if (status)
		return status;
	if (!*out->backend) {
		snprintf(out->backend, sizeof out->backend, "%s", field_string(row, ROW_NAME(backend)));
		snprintf(out->device, sizeof out->device, "%s", field_string(row, ROW_NAME(device)));
	}
	if (!(out->link_gbps > 0))
		out->link_gbps = link_gbps;
	if (!out->target_bytes)
		out->target_bytes = target_bytes;
	if (!out->limit_bytes)
		out->limit_bytes = limit_bytes;
	return UFM_OK;
}

/* Rows of one mode in two phases are two lines of a figure. */
static void line_name(const json_t *json, char *name, size_t size)
{
	const char *phase = field_string(json, ROW_NAME(phase));
	bool plain = !*phase || strcmp(phase, "steps") == 0;
	snprintf(name, size, "%s%s%s", field_string(json, ROW_NAME(mode)), plain ? "" : "_",
	         plain ? "" : phase);
}

static ufm_status read_telemetry(const reader *r, plot_row *row)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%.3900s/telemetry_%s_%u.csv", r->folder, r->out->modes[row->mode],
	         row->experts);
	return plot_telemetry_read(path, &row->telemetry);
}

/* Speeds far from any that is measured would be nothing but ticks of an axis. */
static ufm_status read_speed(const json_t *json, plot_row *row)
{
	bool told = row->ok && field_known(json, ROW_NAME(tokens_per_s));
	return told ? row_number(json, &row_fields[ROW_tokens_per_s], &row->tokens_per_s) : UFM_OK;
}

#define STEP_MS_MAX 1e12

static ufm_status read_steps(const json_t *list, double *step_ms)
{
	size_t i;
	json_t *step;
	json_array_foreach(list, i, step)
	{
		step_ms[i] = json_number_value(step);
		if (!(step_ms[i] > 0 && step_ms[i] < STEP_MS_MAX))
			return status_fail(UFM_EFORMAT, "step_ms: found %g, expected milliseconds above 0",
			                   step_ms[i]);
	}
	return UFM_OK;
}

/* tokens_per_s is that of the mean step; of rows of earlier builds, which do not have the median's beside it, that of
 * the median step. */
static void note_spread(const json_t *json, double *step_ms, plot_row *row)
{
	uint32_t n = row->steps;
	double base_ms = 0;
	for (uint32_t i = 0; i < n; i++)
		base_ms += step_ms[i] / n;
	if (!json_is_number(json_object_get(json, ROW_NAME(tokens_per_s_median))))
		base_ms = median_of(step_ms, n);
	row->slow_tokens_per_s = row->tokens_per_s * base_ms / quantile_of(step_ms, n, 0.75);
	row->fast_tokens_per_s = row->tokens_per_s * base_ms / quantile_of(step_ms, n, 0.25);
}

static ufm_status read_spread(const json_t *json, plot_row *row)
{
	const json_t *list = json_object_get(json, ROW_NAME(step_ms));
	size_t count = json_array_size(list);
	row->slow_tokens_per_s = row->fast_tokens_per_s = row->tokens_per_s;
	if (!row->ok || count == 0)
		return UFM_OK;
	if (count > row_fields[ROW_step_ms].most)
		return status_fail(UFM_EFORMAT, "step_ms: found %zu steps, expected at most %" PRIu64,
		                   count, row_fields[ROW_step_ms].most);
	double *step_ms = alloc_zeroed(count, sizeof *step_ms);
	if (!step_ms)
		return UFM_ENOMEM;
	ufm_status status = read_steps(list, step_ms);
	row->steps = (uint32_t)count;
	if (!status)
		note_spread(json, step_ms, row);
	alloc_free(step_ms);
	return status;
}

static ufm_status note_steps(plot_rows *out, const json_t *json, const plot_row *row)
{
	uint32_t steps;
	ufm_status status = row_u32(json, &row_fields[ROW_steps_measured], &steps);
	if (status || !row->ok || steps == 0)
		return status;
	if (out->steps_min == 0 || steps < out->steps_min)
		out->steps_min = steps;
	if (steps > out->steps_max)
		out->steps_max = steps;
	return UFM_OK;
}

static ufm_status read_figures(plot_rows *out, const json_t *json, plot_row *row)
{
	ufm_status status = row_u32(json, &row_fields[ROW_num_experts], &row->experts);
	if (!status)
		status = read_speed(json, row);
	if (!status)
		status = read_spread(json, row);
	if (!status)
		status = row_whole(json, &row_fields[ROW_bank_bytes], &row->bank_bytes);
	if (!status)
		status = row_whole(json, &row_fields[ROW_peak_vram_bytes], &row->peak_vram_bytes);
	if (!status)
		status = note_steps(out, json, row);
	return status ? status : note_where(out, json);
}

static ufm_status add_row(void *ctx, unsigned line, json_t *json)
{
	const reader *r = ctx;
	plot_rows *out = r->out;
	(void)line;
	char mode[64];
	const char *status = field_string(json, ROW_NAME(status));
	line_name(json, mode, sizeof mode);
	plot_row row = {.ok = strcmp(status, "ok") == 0, .oom = strcmp(status, "oom") == 0};
	ufm_status found;
	if (!plain_name(mode) || !*status)
		return status_fail(UFM_EFORMAT,
		                   "expected a row with mode and status, names in small letters");
	if (out->count == PLOT_ROWS_MAX)
		return status_fail(UFM_EFORMAT, "expected at most %d rows", PLOT_ROWS_MAX);
	found = find_mode(r, mode, &row.mode);
	if (found)
		return found;
	found = read_figures(out, json, &row);
	if (!found)
		found = read_telemetry(r, &row);
	if (!found)
		out->rows[out->count++] = row;
	return found;
}

static int by_mode_and_experts(const void *a, const void *b)
{
	const plot_row *x = a, *y = b;
	if (x->mode != y->mode)
		return x->mode < y->mode ? -1 : 1;
	return (x->experts > y->experts) - (x->experts < y->experts);
}

ufm_status plot_rows_read(const char *folder, plot_rows *out)
{
	char path[PATH_MAX];
	plot_rows rows = {.count = 0};
	reader r = {.folder = folder, .out = &rows};
	ufm_status status;
	snprintf(path, sizeof path, "%.4000s/runs.jsonl", folder);
	rows.rows = alloc_zeroed(PLOT_ROWS_MAX, sizeof *rows.rows);
	status = rows.rows ? row_lines_read(path, "ufm bench", add_row, &r) : UFM_ENOMEM;
	if (!status)
		status = plot_machine_read(folder, rows.machine);
	if (status) {
		plot_rows_free(&rows);
		return status;
	}
	qsort(rows.rows, rows.count, sizeof *rows.rows, by_mode_and_experts);
	*out = rows;
	return UFM_OK;
}

void plot_rows_free(plot_rows *rows)
{
	for (uint32_t i = 0; i < rows->count; i++)
		plot_telemetry_free(&rows->rows[i].telemetry);
	alloc_free(rows->rows);
	*rows = (plot_rows){.count = 0};
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

uint32_t plot_rows_experts(const plot_rows *rows, uint32_t experts[PLOT_ROWS_MAX])
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < rows->count; i++)
		experts[i] = rows->rows[i].experts;
	qsort(experts, rows->count, sizeof *experts, ascending);
	for (uint32_t i = 0; i < rows->count; i++)
		if (count == 0 || experts[count - 1] != experts[i])
			experts[count++] = experts[i];
	return count;
}

bool plot_rows_is_mode(const plot_rows *rows, uint32_t index, const char *mode)
{
	size_t length = strlen(mode);
	const char *name = rows->modes[index];
	return strncmp(name, mode, length) == 0 && (!name[length] || name[length] == '_');
}

bool plot_rows_have_mode(const plot_rows *rows, const char *mode)
{
	for (uint32_t i = 0; i < rows->mode_count; i++)
		if (plot_rows_is_mode(rows, i, mode))
			return true;
	return false;
}
