/* SPDX-License-Identifier: MIT */
/* Rows for people: one table whose columns are aligned, one caption. */
#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "cli/bench/report.h"
#include "cli/bench/row.h"
#include "cli/json_field.h"
#include "cli/options_markdown.h"
#include "cli/text_table.h"

static double gib(const json_t *row, const char *name)
{
	return (double)field_whole(row, name) / (1u << 30);
}

static double gb(const json_t *row, const char *name)
{
	return (double)field_whole(row, name) / 1e9;
}

/* As a row's label. */
static const char *label(const json_t *row, char *text, size_t size)
{
	const char *phase = field_string(row, ROW_NAME(phase));
	bool plain = strcmp(phase, "steps") == 0;
	snprintf(text, size, "%s%s%s", field_string(row, ROW_NAME(mode)), plain ? "" : " ",
	         plain ? "" : phase);
	return text;
}

/* The first row that has a value; NULL if none has. */
static const json_t *row_with(const json_t *rows, const char *name)
{
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		if (field_known(row, name))
			return row;
	}
	return NULL;
}

/* ---- the table */

#define COLUMN_COUNT 19
#define TOKENS_COLUMN 4

static const text_column all_columns[COLUMN_COUNT] = {
	{"mode", true, TEXT_ALWAYS},
	{"experts", false, TEXT_ALWAYS},
	{"bank GiB", false, 3},
	{"status", true, TEXT_KEY},
	{"tokens/s", false, TEXT_ALWAYS},
	{"step ms", false, 5},
	{"of floor", false, 1},
	{"bound by", true, 4},
	{"of limit", false, 6},
	{"peak GiB", false, 2},
	{"slots", false, 7},
	{"experts touched", false, 9},
	{"resident", false, 8},
	{"streamed", false, 8},
	{"to device GB", false, 8},
	{"back GB", false, 9},
	{"stall ms", false, 9},
	{"output", true, 9},
	{"steps", false, 9},
};

/* The median and the quartiles around it, each with three digits. */
static void step_cell(text_table *t, uint32_t at, const json_t *row)
{
	double median_ms = field_number(row, ROW_NAME(step_ms_median));
	int places = median_ms < 10 ? 2 : median_ms < 100 ? 1 : 0;
	text_cell(t, at, 5, "%.*f (%.*f-%.*f)", places, median_ms, places,
	          field_number(row, ROW_NAME(step_ms_q1)), places,
	          field_number(row, ROW_NAME(step_ms_q3)));
}

static bool is_cold(const json_t *row)
{
	return json_is_false(json_object_get(row, ROW_NAME(slots_filled)));
}

static void measured_cells(text_table *t, uint32_t at, const json_t *row)
{
	double tokens_per_s = field_number(row, ROW_NAME(tokens_per_s));
	text_cell(t, at, TOKENS_COLUMN, "%.*f", tokens_per_s < 100 ? 2 : 0, tokens_per_s);
	step_cell(t, at, row);
	text_cell(t, at, 18, "%" PRIu64, field_whole(row, ROW_NAME(steps_measured)));
	if (field_known(row, ROW_NAME(fraction_of_floor))) {
		text_cell(t, at, 6, "%.3f", field_number(row, ROW_NAME(fraction_of_floor)));
		text_cell(t, at, 7, "%s", field_string(row, ROW_NAME(bound_by)));
	}
	if (field_known(row, ROW_NAME(fraction_of_limit)))
		text_cell(t, at, 8, "%.3f", field_number(row, ROW_NAME(fraction_of_limit)));
	text_cell(t, at, 9, "%.3f", gib(row, ROW_NAME(peak_vram_bytes)));
	text_cell(t, at, 10, "%" PRIu64, field_whole(row, ROW_NAME(slots)));
	if (field_known(row, ROW_NAME(experts_touched_expected)))
		text_cell(t, at, 11, "%.1f (%.1f expected)", field_number(row, ROW_NAME(experts_touched)),
		          field_number(row, ROW_NAME(experts_touched_expected)));
	else
		text_cell(t, at, 11, "%.1f", field_number(row, ROW_NAME(experts_touched)));
	text_cell(t, at, 12, "%" PRIu64, field_whole(row, ROW_NAME(resident_uses)));
	text_cell(t, at, 13, "%" PRIu64, field_whole(row, ROW_NAME(streamed_uses)));
	text_cell(t, at, 14, "%.2f", gb(row, ROW_NAME(h2d_weight_bytes)));
	text_cell(t, at, 15, "%.2f", gb(row, ROW_NAME(d2h_weight_bytes)));
	text_cell(t, at, 16, "%.0f", field_number(row, ROW_NAME(stall_ms)));
	text_cell(t, at, 17, "%.8s", field_string(row, ROW_NAME(output_hash)));
}

static void row_cells(text_table *t, uint32_t at, const json_t *row)
{
	char text[TEXT_CELL_BYTES];
	text_cell(t, at, 0, "%s", label(row, text, sizeof text));
	text_cell(t, at, 1, "%" PRIu64, field_whole(row, ROW_NAME(num_experts)));
	text_cell(t, at, 2, "%.2f", gib(row, ROW_NAME(bank_bytes)));
	text_cell(t, at, 3, "%s%s", field_string(row, ROW_NAME(status)), is_cold(row) ? ", cold" : "");
	if (field_known(row, ROW_NAME(tokens_per_s)))
		measured_cells(t, at, row);
}

static void table(sheet *to, const json_t *rows, bool emulated)
{
	text_column columns[COLUMN_COUNT];
	text_table t;
	memcpy(columns, all_columns, sizeof columns);
	if (emulated)
		columns[TOKENS_COLUMN].title = "emulated tok/s";
	if (text_table_open(&t, columns, COLUMN_COUNT, (uint32_t)json_array_size(rows))) {
		for (uint32_t i = 0; i < t.row_count; i++)
			row_cells(&t, i, json_array_get(rows, i));
		text_table_print(to, &t);
	}
	text_table_close(&t);
}

/* ---- what stands around it */

static void begin_note(sheet *to, const json_t *row, bool *first)
{
	char text[TEXT_CELL_BYTES];
	sheet_print(to, "%s- %s, %" PRIu64 " experts: ", *first ? "\n" : "",
	            label(row, text, sizeof text), field_whole(row, ROW_NAME(num_experts)));
	*first = false;
}

/* The machine that was probed was not the one that ran the steps. */
static void note_floor(sheet *to, const json_t *row, bool *first)
{
	double fraction = field_number(row, ROW_NAME(fraction_of_floor));
	if (fraction <= FLOOR_BEATEN || strcmp(field_string(row, ROW_NAME(status)), "ok") != 0)
		return;
	begin_note(to, row, first);
	sheet_print(to,
	            "%.3f of its floor: the machine's rates changed between probes and steps, or steps "
	            "were served by caches; its floor bounds nothing\n",
	            fraction);
}

static void note_cold(sheet *to, const json_t *row, bool *first)
{
	if (!is_cold(row))
		return;
	begin_note(to, row, first);
	sheet_print(to,
	            "cold: %" PRIu64 " of %" PRIu64 " slots held an expert when measuring began, after "
	            "%" PRIu64 " steps of warm-up\n",
	            field_whole(row, ROW_NAME(slots_held)), field_whole(row, ROW_NAME(slots)),
	            field_whole(row, ROW_NAME(warmup)));
}

static void notes(sheet *to, const json_t *rows)
{
	size_t i;
	json_t *row;
	bool first = true;
	json_array_foreach(rows, i, row)
	{
		if (field_known(row, ROW_NAME(error))) {
			begin_note(to, row, &first);
			sheet_print(to, "%s: %s\n", field_string(row, ROW_NAME(status)),
			            field_string(row, ROW_NAME(error)));
		}
		note_cold(to, row, &first);
		note_floor(to, row, &first);
	}
}

static void where(sheet *to, const json_t *rows)
{
	/* A row that ran out of memory may not know its device. */
	const json_t *row = row_with(rows, ROW_NAME(device));
	if (!row)
		row = row_with(rows, ROW_NAME(backend));
	if (!row)
		return;
	char target[32], headroom[32], limit[32];
	sheet_print(to, "\nBackend %s, device %s.", field_string(row, ROW_NAME(backend)),
	            field_string(row, ROW_NAME(device)));
	sheet_print(to, " Bounds: ufm %s less %s of headroom;",
	            size_format(field_whole(row, ROW_NAME(vram_target_bytes)), target, sizeof target),
	            size_format(field_whole(row, ROW_NAME(headroom_bytes)), headroom, sizeof headroom));
	if (field_known(row, ROW_NAME(vram_limit_bytes)))
		sheet_print(to, " the card, in all modes, %s.",
		            size_format(field_whole(row, ROW_NAME(vram_limit_bytes)), limit, sizeof limit));
	else
		sheet_print(to, " the card has its own memory.");
	sheet_print(
		to,
		" Uses, GB and stall are sums over %" PRIu64
		" measured steps, tokens/s is all of their tokens over all of their time, step ms the "
		"median step and the quartiles of the steps.\n",
		field_whole(row, ROW_NAME(steps)));
}

void report_markdown(sheet *to, const json_t *summary)
{
	const json_t *rows = json_object_get(summary, "rows");
	const json_t *link = row_with(rows, ROW_NAME(link_gbps_emulated));
	if (link)
		sheet_print(to,
		            "Emulated link: %g GB/s each way; no figure below is that of a real link.\n\n",
		            field_number(link, ROW_NAME(link_gbps_emulated)));
	table(to, rows, link != NULL);
	notes(to, rows);
	where(to, rows);
	options_markdown(to, &bench_options, json_object_get(summary, "config"));
}
