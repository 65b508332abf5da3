/* SPDX-License-Identifier: MIT */
/* One line after the other, each a row. */
#include "cli/row_lines.h"

#include <stdbool.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "cli/json_memory.h"
#include "cli/lines.h"

typedef struct reader {
	lines lines;
	const char *what;
	row_taker take;
	void *ctx;
	unsigned rows;
} reader;

static ufm_status not_a_row(const reader *r, const char *found)
{
	return status_fail(UFM_EFORMAT, "found %s, expected a row of %s, a JSON object", found,
	                   r->what);
}

static ufm_status take_row(reader *r, json_t *row)
{
	if (!json_is_object(row))
		return not_a_row(r, "JSON that is no object");
	r->rows++;
	return r->take(r->ctx, r->lines.number, row);
}

static ufm_status take_line(reader *r)
{
	json_error_t error;
	if (r->lines.length == strspn(r->lines.line, " \t\r\n"))
		return UFM_OK;
	json_t *row = json_loadb(r->lines.line, r->lines.length, 0, &error);
	/* Also of what was read: jansson takes some losses for none. */
	if (json_memory_check()) {
		json_decref(row);
		return UFM_ENOMEM;
	}
	if (!row && !r->lines.whole) {
		log_warn("%s: line %u: cut short, left out", r->lines.path, r->lines.number);
		return UFM_OK;
	}
	ufm_status status = row ? take_row(r, row) : not_a_row(r, error.text);
	json_decref(row);
	return status ? status_prefix(status, "%s: line %u", r->lines.path, r->lines.number) : UFM_OK;
}

static ufm_status read_all(reader *r)
{
	bool more = true;
	ufm_status status = UFM_OK;
	while (!status && more) {
		status = lines_next(&r->lines, &more);
		if (!status && more)
			status = take_line(r);
	}
	if (!status && r->rows == 0)
		status = status_fail(UFM_EFORMAT, "%s: found no row, expected those of %s", r->lines.path,
		                     r->what);
	return status;
}

ufm_status row_lines_read(const char *path, const char *what, row_taker take, void *ctx)
{
	reader r = {.what = what, .take = take, .ctx = ctx};
	ufm_status status = lines_open(path, &r.lines);
	if (status)
		return status;
	status = read_all(&r);
	lines_close(&r.lines);
	return status;
}
