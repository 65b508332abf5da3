/* SPDX-License-Identifier: MIT */
/* JSON lines, or one object or array that holds the rows. */
#include "cli/plan/row_file.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/json_memory.h"
#include "cli/lines.h"
#include "cli/row_lines.h"

#define WHAT "ufm bench"

/* ---- one document */

/* The rows inside of a document; NULL: it holds none. */
static json_t *rows_of(json_t *all)
{
	json_t *rows = json_is_array(all) ? all : json_object_get(all, "rows");
	return json_is_array(rows) ? json_incref(rows) : NULL;
}

static ufm_status check_objects(const char *path, const json_t *rows)
{
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		if (!json_is_object(row))
			return status_fail(UFM_EFORMAT, "%s: row %zu: expected a row of " WHAT ", an object",
			                   path, i + 1);
	}
	if (json_array_size(rows) == 0)
		return status_fail(UFM_EFORMAT, "%s: found no row, expected rows of " WHAT, path);
	return UFM_OK;
}

/* *rows NULL: it is no document that holds rows. */
static ufm_status read_document(const char *path, json_t **rows)
{
	lines file;
	ufm_status status = lines_open(path, &file);
	if (status)
		return status;
	json_t *all = json_loadf(file.file, 0, NULL);
	if (ferror(file.file))
		status = status_fail(UFM_EFILE, "%s: cannot be read: %s", path, strerror(errno));
	else
		status = json_memory_check();
	*rows = status ? NULL : rows_of(all);
	json_decref(all);
	lines_close(&file);
	if (!status && *rows)
		status = check_objects(path, *rows);
	if (status)
		json_decref(*rows);
	return status;
}

/* ---- lines */

typedef struct kept {
	row_file file;
	uint32_t room;
} kept;

static ufm_status keep(void *ctx, unsigned line, json_t *row)
{
	kept *k = ctx;
	uint32_t count = (uint32_t)json_array_size(k->file.rows);
	unsigned *numbers = alloc_grow(k->file.lines, count, &k->room, sizeof *numbers);
	if (!numbers)
		return UFM_ENOMEM;
	k->file.lines = numbers;
	numbers[count] = line;
	return json_array_append(k->file.rows, row) == 0
	           ? UFM_OK
	           : status_fail(UFM_ENOMEM, "no memory to keep its row");
}

static ufm_status read_rows(const char *path, row_file *out)
{
	kept k = {.file.rows = json_array()};
	ufm_status status = k.file.rows ? row_lines_read(path, WHAT, keep, &k)
	                                : status_fail(UFM_ENOMEM, "%s: no memory for its rows", path);
	if (status)
		row_file_close(&k.file);
	else
		*out = k.file;
	return status;
}

ufm_status row_file_read(const char *path, row_file *out)
{
	json_t *rows;
	ufm_status status = read_document(path, &rows);
	if (status)
		return status;
	if (!rows)
		return read_rows(path, out);
	*out = (row_file){.rows = rows};
	return UFM_OK;
}

void row_file_close(row_file *f)
{
	json_decref(f->rows);
	alloc_free(f->lines);
	*f = (row_file){.rows = NULL};
}

const char *row_file_place(const row_file *f, size_t row, char place[ROW_PLACE_BYTES])
{
	if (f->lines)
		snprintf(place, ROW_PLACE_BYTES, "line %u", f->lines[row]);
	else
		snprintf(place, ROW_PLACE_BYTES, "row %zu", row + 1);
	return place;
}
