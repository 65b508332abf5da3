/* SPDX-License-Identifier: MIT */
/* Rows of files, each beside its plan. */
#include "cli/plan/against.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/interrupt.h"
#include "cli/json_field.h"
#include "cli/json_memory.h"
#include "cli/json_put.h"
#include "cli/json_text.h"
#include "cli/message.h"
#include "cli/plan/row_case.h"
#include "cli/plan/row_file.h"
#include "cli/row_fields.h"
#include "cli/rows.h"
#include "cli/text_table.h"

#define NEAR_SPEED 0.10
#define NEAR_HITS 0.02

/* ------------------------------------------------------------------ the comparison */

static json_t *compare(const char *file, const row_case *k, const row_outcome *o)
{
	const json_t *row = k->row;
	json_t *out = json_object();
	double measured = k->tokens_per_s;
	double hits = k->uses ? (double)k->resident_uses / (double)k->uses : NAN;
	json_put(out, "file", json_text(file));
	json_put(out, "device", json_string(field_string(row, ROW_NAME(device))));
	json_put(out, "preset", json_string(field_string(row, ROW_NAME(preset))));
	json_put(out, "phase", json_string(field_string(row, ROW_NAME(phase))));
	json_put(out, "workload", json_string(field_string(row, ROW_NAME(workload))));
	json_put(out, "layers", json_integer(k->shape.bank.layers));
	json_put(out, "experts", json_integer(k->shape.bank.experts));
	json_put(out, "expert_bytes", json_whole(k->shape.bank.desc.expert_bytes));
	json_put(out, "batch", json_integer(k->batch));
	json_put(out, "seq", json_integer(k->seq));
	json_put(out, "ids", json_string(k->given ? "ahead" : "device"));
	json_put(out, "cpu", json_boolean(k->cpu));
	json_put(out, "cpu_chosen", json_boolean(o->cpu));
	json_put(out, "vram_target_bytes", json_whole(k->target_bytes));
	json_put(out, "slots_measured", json_whole(k->slots));
	json_put(out, "slots", json_integer(o->budget.slots));
	json_put(out, "tokens_per_s_measured", json_real(measured));
	json_put(out, "tokens_per_s", json_real(o->tokens_per_s));
	json_put(out, "tokens_per_s_error", json_real(o->tokens_per_s / measured - 1));
	json_put(out, "hit_rate_measured", json_real(hits));
	json_put(out, "hit_rate", json_real(o->hit_rate));
	json_put(out, "hit_rate_error", json_real(o->hit_rate - hits));
	json_put(out, "streamed", json_real((double)o->walked.streamed / (double)o->walked.steps));
	json_put(out, "on_cpu", json_real((double)o->walked.on_cpu / (double)o->walked.steps));
	json_put(out, "bound_by", json_string(timing_bound_name(o->bound)));
	return out;
}

static bool near(const json_t *row, const char *name, double most)
{
	return field_known(row, name) && fabs(field_number(row, name)) <= most;
}

static const text_column columns[] = {
	{"case", true, TEXT_ALWAYS},
	{"phase", true, TEXT_KEY},
	{"experts", false, TEXT_KEY},
	{"tokens", false, TEXT_KEY},
	{"CPU", true, TEXT_KEY},
	{"slots", false, TEXT_KEY},
	{"tok/s", false, TEXT_ALWAYS},
	{"predicted", false, 2},
	{"error %", false, TEXT_ALWAYS},
	{"hit rate", false, 3},
	{"predicted hit rate", false, 4},
	{"hit rate error", false, 1},
	{"bound by", true, 5},
};
#define COLUMNS (sizeof columns / sizeof columns[0])

/* Bytes of `path` before an ending, of which something must be left; all of them if it does not end so. */
static size_t bytes_before(const char *path, size_t bytes, const char *ending)
{
	size_t length = strlen(ending);
	bool ends = bytes > length && strncmp(path + bytes - length, ending, length) == 0;
	return ends ? bytes - length : bytes;
}

/* The file's name says which case it was, or the folder's where all have that name. */
static void name_case(text_table *t, uint32_t line, const char *path)
{
	size_t whole = strlen(path), end = bytes_before(path, whole, "/runs.jsonl"), begin;
	if (end < whole)
		end = bytes_before(path, end, "/rows");
	else if (strcmp(path, "runs.jsonl") != 0)
		end = bytes_before(path, end, ".jsonl");
	for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--)
		;
	text_cell(t, line, 0, "%.*s", (int)(end - begin), path + begin);
}

static const char *cpu_word(const json_t *row)
{
	if (!json_is_true(json_object_get(row, "cpu")))
		return "off";
	return json_is_true(json_object_get(row, "cpu_chosen")) ? "on" : "on, not chosen";
}

static void fill_line(text_table *t, uint32_t line, const json_t *row)
{
	double measured = field_number(row, "tokens_per_s_measured");
	int digits = measured < 100 ? 2 : 0;
	bool known = field_known(row, "hit_rate_measured"); /* something was used */
	name_case(t, line, field_string(row, "file"));
	text_cell(t, line, 1, "%s", field_string(row, "phase"));
	text_cell(t, line, 2, "%" PRIu64 " x %" PRIu64, field_whole(row, "layers"),
	          field_whole(row, "experts"));
	text_cell(t, line, 3, "%" PRIu64 " x %" PRIu64, field_whole(row, "batch"),
	          field_whole(row, "seq"));
	text_cell(t, line, 4, "%s", cpu_word(row));
	text_cell(t, line, 5, "%" PRIu64 "%s", field_whole(row, "slots"),
	          field_whole(row, "slots") == field_whole(row, "slots_measured") ? "" : " (!)");
	text_cell(t, line, 6, "%.*f", digits, measured);
	text_cell(t, line, 7, "%.*f", digits, field_number(row, "tokens_per_s"));
	text_cell(t, line, 8, "%+.1f", 100 * field_number(row, "tokens_per_s_error"));
	text_cell(t, line, 9, known ? "%.3f" : "-", field_number(row, "hit_rate_measured"));
	text_cell(t, line, 10, "%.3f", field_number(row, "hit_rate"));
	text_cell(t, line, 11, known ? "%+.3f" : "-", field_number(row, "hit_rate_error"));
	text_cell(t, line, 12, "%s", field_string(row, "bound_by"));
}

static void print_counts(sheet *to, json_t *rows, uint32_t left_out)
{
	size_t i, speed = 0, hits = 0, slots = 0;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		speed += near(row, "tokens_per_s_error", NEAR_SPEED);
		hits += near(row, "hit_rate_error", NEAR_HITS);
		slots += field_whole(row, "slots") == field_whole(row, "slots_measured");
	}
	sheet_print(
		to,
		"\n%zu cases: tok/s within 10 %% in %zu, hit rate within 0.02 in %zu, the number of "
		"slots exact in "
		"%zu.\n",
		json_array_size(rows), speed, hits, slots);
	if (left_out)
		sheet_print(to, "%u rows are left out: they could not be predicted.\n", left_out);
}

static void print_table(sheet *to, json_t *rows, uint32_t left_out)
{
	text_table t;
	size_t i;
	json_t *row;
	if (!text_table_open(&t, columns, COLUMNS, (uint32_t)json_array_size(rows)))
		return;
	json_array_foreach(rows, i, row)
	{
		fill_line(&t, (uint32_t)i, row);
	}
	text_table_print(to, &t);
	text_table_close(&t);
	print_counts(to, rows, left_out);
}

/* ------------------------------------------------------------------ files */

static bool is_case(const json_t *row)
{
	return strcmp(field_string(row, ROW_NAME(mode)), "ufm") == 0 &&
	       strcmp(field_string(row, ROW_NAME(status)), "ok") == 0;
}

/* A row that cannot be predicted is said and counted; the machine's lack of memory is not the row's fault. */
static ufm_status add_row(const plan_config *c, const char *file, const char *place,
                          const json_t *row, json_t *rows, uint32_t *left_out)
{
	row_case k;
	row_outcome outcome;
	if (!is_case(row))
		return UFM_OK;
	message_progress("%s: %s", file, place);
	ufm_status status = row_case_read(c, row, &k);
	if (!status)
		status = row_case_predict(&k, &outcome);
	if (status == UFM_ENOMEM)
		return status_prefix(status, "%s: %s", file, place);
	if (status) {
		message_error("plan", "%s: %s is left out: %s", file, place, ufm_last_error());
		++*left_out;
		return UFM_OK;
	}
	json_add(rows, compare(file, &k, &outcome));
	return UFM_OK;
}

static ufm_status add_file(const plan_config *c, const char *file, json_t *rows, uint32_t *left_out)
{
	row_file found;
	json_t *row;
	size_t i;
	char place[ROW_PLACE_BYTES];
	ufm_status status = row_file_read(file, &found);
	if (status)
		return status;
	for (i = 0; i < json_array_size(found.rows) && !status; i++) {
		row = json_array_get(found.rows, i);
		status = interrupt_check();
		if (!status)
			status = add_row(c, file, row_file_place(&found, i, place), row, rows, left_out);
	}
	row_file_close(&found);
	return status;
}

int against_run(const plan_config *c, const char *const *files, uint32_t count)
{
	json_t *rows = json_array();
	uint32_t left_out = 0;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < count && !status; i++)
		status = add_file(c, files[i], rows, &left_out);
	message_progress_clear();
	if (!status && json_array_size(rows) == 0)
		status = status_fail(UFM_EFORMAT, "no row of mode ufm could be predicted");
	if (!status)
		status = json_memory_check();
	sheet to = sheet_open(stdout, c->wide);
	if (!status && c->format == ROWS_MD)
		print_table(&to, rows, left_out);
	else if (!status)
		rows_write(stdout, (rows_format)c->format, rows);
	command_printed();
	json_decref(rows);
	if (status)
		return message_status("plan", status);
	return left_out ? CLI_DATA : CLI_OK;
}
