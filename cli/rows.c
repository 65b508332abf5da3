/* SPDX-License-Identifier: MIT */
/* Rows for programs: csv, json, jsonl. */
#include "cli/rows.h"

#include <stdbool.h>
#include <string.h>

#include "cli/json_memory.h"
#include "cli/json_print.h"

void rows_write_line(FILE *to, const json_t *row)
{
	(void)json_print(to, row, JSON_PRINT_LINE); /* no memory is remembered */
	fflush(to);
}

static void csv_text(FILE *to, const char *text)
{
	if (!strpbrk(text, ",\"\n\r")) {
		fputs(text, to);
		return;
	}
	fputc('"', to);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

static void csv_value(FILE *to, const json_t *value)
{
	size_t i;
	json_t *item;
	if (json_is_integer(value))
		fprintf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		fprintf(to, "%.9g", json_real_value(value));
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "true" : "false", to);
	else if (json_is_string(value))
		csv_text(to, json_string_value(value));
	json_array_foreach(value, i, item)
	{
		if (i)
			fputc(' ', to);
		csv_value(to, item);
	}
}

static bool has_fields(const json_t *value)
{
	return json_is_object(value) || json_is_object(json_array_get(value, 0));
}

/* A row may have null where another has fields: the columns are the same for all. */
static bool is_column(const json_t *rows, const char *key)
{
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		if (has_fields(json_object_get(row, key)))
			return false;
	}
	return true;
}

static void csv_line(FILE *to, const json_t *rows, json_t *row, bool header)
{
	const char *key;
	json_t *value;
	bool first = true;
	json_object_foreach(row, key, value)
	{
		if (!is_column(rows, key))
			continue;
		if (!first)
			fputc(',', to);
		first = false;
		if (header)
			fputs(key, to);
		else
			csv_value(to, value);
	}
	fputc('\n', to);
}

static void rows_csv(FILE *to, const json_t *rows)
{
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		if (i == 0)
			csv_line(to, rows, row, true);
		csv_line(to, rows, row, false);
	}
}

static void rows_jsonl(FILE *to, const json_t *rows)
{
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		rows_write_line(to, row);
	}
}

void rows_write(FILE *to, rows_format format, const json_t *rows)
{
	if (json_memory_check())
		return;
	switch (format) {
	case ROWS_MD:
		break;
	case ROWS_CSV:
		rows_csv(to, rows);
		break;
	case ROWS_JSON:
		(void)json_print(to, rows, JSON_PRINT_PAGE);
		break;
	case ROWS_JSONL:
		rows_jsonl(to, rows);
		break;
	}
}
