/* SPDX-License-Identifier: MIT */
/* When what is printed in which format, and the files that sum a sweep up. */
#include "cli/bench/report.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/json_memory.h"
#include "cli/json_print.h"

void report_row(FILE *to, rows_format format, const json_t *row)
{
	if (format == ROWS_JSONL)
		rows_write_line(to, row);
}

void report_end(sheet *to, rows_format format, const json_t *summary)
{
	if (json_memory_check())
		return;
	if (format == ROWS_MD)
		report_markdown(to, summary);
	else if (format != ROWS_JSONL)
		rows_write(to->to, format, json_object_get(summary, "rows"));
}

static ufm_status put_summary(results *r, const json_t *summary)
{
	size_t length;
	ufm_status status = json_memory_check();
	char *text = status ? NULL : json_as_text(summary, JSON_PRINT_PAGE, &length);
	if (!text)
		return status_prefix(UFM_ENOMEM, "--out: summary.json");
	status = results_put(r, "summary.json", text, length);
	alloc_free(text);
	return status;
}

/* What is printed where nobody asks for another format, with all columns. */
static ufm_status put_table(results *r, const json_t *summary)
{
	char *text = NULL;
	size_t length = 0;
	FILE *to = open_memstream(&text, &length);
	if (to) {
		sheet wide = sheet_open(to, true);
		report_markdown(&wide, summary);
	}
	bool whole = to && !ferror(to);
	/* Where memory lacks at the end, closing succeeds and leaves no text. */
	if (!to || fclose(to) != 0 || !whole || !text) {
		free(text);
		return status_fail(UFM_ENOMEM, "--out: table.md: no memory for it");
	}
	ufm_status status = results_put(r, "table.md", text, length);
	free(text);
	return status;
}

ufm_status report_keep(results *r, const json_t *summary)
{
	ufm_status status = put_summary(r, summary);
	return status ? status : put_table(r, summary);
}
