/* SPDX-License-Identifier: MIT */
/* When what is printed in which format. */
#include "cli/bench/report.h"

void report_row(FILE *to, rows_format format, const json_t *row)
{
	if (format == ROWS_JSONL)
		rows_write_line(to, row);
}

void report_end(sheet *to, rows_format format, const json_t *summary)
{
	if (format == ROWS_MD)
		report_markdown(to, summary);
	else if (format != ROWS_JSONL)
		rows_write(to->to, format, json_object_get(summary, "rows"));
}
