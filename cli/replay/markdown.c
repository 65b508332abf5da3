/* SPDX-License-Identifier: MIT */
/* Tables: hits, hits by layer, guesses. */
#include <inttypes.h>
#include <string.h>

#include "cli/json_field.h"
#include "cli/replay/report.h"
#include "cli/text_table.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Nothing for null. */
static void number_cell(text_table *t, uint32_t row, uint32_t column, const json_t *json,
                        const char *name, int digits)
{
	if (field_known(json, name))
		text_cell(t, row, column, "%.*f", digits, field_number(json, name));
}

static void case_cells(text_table *t, uint32_t at, const json_t *row)
{
	text_cell(t, at, 0, "%s", base_name(field_string(row, "trace")));
	text_cell(t, at, 1, "%s", field_string(row, "scope"));
	text_cell(t, at, 2, "%" PRIu64, field_whole(row, "batch"));
	text_cell(t, at, 3, "%" PRIu64, field_whole(row, "capacity"));
}

/* Columns that only some runs have come last, in this order. */
static void hits_table(sheet *to, const json_t *rows, bool timed, bool costs)
{
	static const text_column all[] = {
		{"trace", true, TEXT_KEY},  {"scope", true, TEXT_KEY},
		{"batch", false, TEXT_KEY}, {"capacity", false, 4},
		{"%", false, TEXT_ALWAYS},  {"policy", true, TEXT_ALWAYS},
		{"uses", false, 8},         {"hit rate", false, TEXT_ALWAYS},
		{"bound", true, 3},         {"bound hit rate", false, 1},
		{"of bound", false, 6},     {"LRU", false, 5},
		{"gap closed", false, 2},   {"to min", false, 7},
		{"reads/step", false, 5},   {"limit ms", false, 5},
		{"cost saved", false, 2},
	};
	text_column columns[sizeof all / sizeof all[0]];
	text_table t;
	uint32_t count = sizeof all / sizeof all[0] - 2;
	memcpy(columns, all, sizeof all);
	if (timed)
		count++;
	if (costs)
		columns[count++] = all[16];
	if (text_table_open(&t, columns, count, (uint32_t)json_array_size(rows))) {
		for (uint32_t i = 0; i < t.row_count; i++) {
			const json_t *row = json_array_get(rows, i);
			case_cells(&t, i, row);
			number_cell(&t, i, 4, row, "capacity_percent", 1);
			text_cell(&t, i, 5, "%s", field_string(row, "policy"));
			text_cell(&t, i, 6, "%" PRIu64, field_whole(row, "uses"));
			number_cell(&t, i, 7, row, "hit_rate", 4);
			text_cell(&t, i, 8, "%s", field_string(row, "bound"));
			number_cell(&t, i, 9, row, "bound_hit_rate", 4);
			number_cell(&t, i, 10, row, "fraction_of_bound", 3);
			number_cell(&t, i, 11, row, "lru_hit_rate", 4);
			number_cell(&t, i, 12, row, "gap_closed", 3);
			number_cell(&t, i, 13, row, "gap_to_min_closed", 3);
			number_cell(&t, i, 14, row, "limit_reads", 2);
			if (timed)
				number_cell(&t, i, 15, row, "limit_ms", 4);
			if (costs)
				number_cell(&t, i, count - 1, row, "cost_saved", 4);
		}
		text_table_print(to, &t);
	}
	text_table_close(&t);
}

static void layer_rows(text_table *t, uint32_t *at, const json_t *row)
{
	const json_t *layers = json_object_get(row, "per_layer");
	size_t i;
	json_t *layer;
	json_array_foreach(layers, i, layer)
	{
		case_cells(t, *at, row);
		text_cell(t, *at, 4, "%s", field_string(row, "policy"));
		text_cell(t, *at, 5, "%" PRIu64, field_whole(layer, "layer"));
		number_cell(t, *at, 6, layer, "hit_rate", 4);
		number_cell(t, *at, 7, layer, "bound_hit_rate", 4);
		number_cell(t, *at, 8, layer, "lru_hit_rate", 4);
		number_cell(t, *at, 9, layer, "gap_closed", 3);
		++*at;
	}
}

static void layers_table(sheet *to, const json_t *rows)
{
	static const text_column columns[] = {
		{"trace", true, TEXT_KEY},        {"scope", true, TEXT_KEY},  {"batch", false, TEXT_KEY},
		{"capacity", false, TEXT_KEY},    {"policy", true, TEXT_KEY}, {"layer", false, TEXT_ALWAYS},
		{"hit rate", false, TEXT_ALWAYS}, {"bound", false, 1},        {"LRU", false, 3},
		{"gap closed", false, 2},
	};
	text_table t;
	uint32_t count = 0, at = 0;
	for (size_t i = 0; i < json_array_size(rows); i++)
		count += (uint32_t)json_array_size(json_object_get(json_array_get(rows, i), "per_layer"));
	sheet_print(to, "\n");
	if (text_table_open(&t, columns, sizeof columns / sizeof columns[0], count)) {
		for (size_t i = 0; i < json_array_size(rows); i++)
			layer_rows(&t, &at, json_array_get(rows, i));
		text_table_print(to, &t);
	}
	text_table_close(&t);
}

static void guesses_table(sheet *to, const json_t *rows)
{
	static const text_column columns[] = {
		{"trace", true, TEXT_KEY},       {"scope", true, TEXT_KEY},
		{"batch", false, TEXT_KEY},      {"capacity", false, TEXT_KEY},
		{"policy", true, TEXT_KEY},      {"predictor", true, TEXT_KEY},
		{"guesses", false, TEXT_ALWAYS}, {"recall", false, TEXT_ALWAYS},
		{"recall of misses", false, 1},  {"precision", false, 2},
	};
	text_table t;
	if (text_table_open(&t, columns, sizeof columns / sizeof columns[0],
	                    (uint32_t)json_array_size(rows))) {
		for (uint32_t i = 0; i < t.row_count; i++) {
			const json_t *row = json_array_get(rows, i);
			case_cells(&t, i, row);
			text_cell(&t, i, 4, "%s", field_string(row, "policy"));
			text_cell(&t, i, 5, "%s", field_string(row, "predictor"));
			text_cell(&t, i, 6, "%" PRIu64, field_whole(row, "guesses"));
			number_cell(&t, i, 7, row, "recall", 4);
			number_cell(&t, i, 8, row, "recall_of_misses", 4);
			number_cell(&t, i, 9, row, "precision", 4);
		}
		text_table_print(to, &t);
	}
	text_table_close(&t);
}

void replay_markdown(sheet *to, const replay_options *options, const json_t *rows)
{
	if (options->predict.count) {
		guesses_table(to, rows);
		sheet_print(
			to,
			"\nrecall: of a layer's experts, those among as many guesses made before its router "
			"spoke. recall of misses: of those that were not resident, those among as many guesses "
			"of what was not. precision: of these guesses, those demanded; the others would be "
			"copied for nothing.\n");
		return;
	}
	hits_table(to, rows, options->read_gbps > 0, options->cost != NULL);
	if (options->by_layer)
		layers_table(to, rows);
	sheet_print(to, "\nA use is one expert of one layer in one step. capacity: slots of a cache, "
	                "of a layer's or of "
	                "the pool; %%: of all experts. bound: what nobody without the future can pass; "
	                "min where every miss "
	                "is admitted, min-bypass where an expert may pass by. gap closed: of the hits "
	                "between LRU and the "
	                "bound. reads/step: experts of all layers that must be read a step at least, "
	                "by min-bypass.\n");
}
