/* SPDX-License-Identifier: MIT */
/* JSON lines, and the one object that holds them. */
#include "cli/plan/row_file.h"

#include <stdio.h>

#include "base/status.h"

static json_t *read_lines(FILE *file, const char *path)
{
	json_t *rows = json_array(), *row;
	json_error_t error;
	while ((row = json_loadf(file, JSON_DISABLE_EOF_CHECK, &error)))
		json_array_append_new(rows, row);
	if (!feof(file) || json_array_size(rows) == 0) {
		status_fail(UFM_EFORMAT, "%s: row %zu: %s", path, json_array_size(rows) + 1, error.text);
		json_decref(rows);
		return NULL;
	}
	return rows;
}

ufm_status row_file_read(const char *path, json_t **out)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return status_fail(UFM_EFILE, "%s: cannot be read", path);
	json_t *rows = read_lines(file, path);
	fclose(file);
	if (!rows)
		return UFM_EFORMAT;
	json_t *inner = json_object_get(json_array_get(rows, 0), "rows");
	if (json_array_size(rows) == 1 && json_is_array(inner)) {
		json_incref(inner);
		json_decref(rows);
		rows = inner;
	}
	*out = rows;
	return UFM_OK;
}
