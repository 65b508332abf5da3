/* SPDX-License-Identifier: MIT */
/* JSON lines, or one object or array that holds the rows. */
#include "cli/plan/row_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"

static ufm_status read_lines(FILE *file, const char *path, json_t *rows)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	ufm_status status = UFM_OK;
	for (uint32_t number = 1; !status && (length = getline(&line, &room, file)) > 0; number++) {
		json_error_t error;
		json_t *row = json_loadb(line, (size_t)length, 0, &error);
		if (!row)
			status = status_fail(UFM_EFORMAT, "%s: line %u: %s, expected a row of ufm bench", path,
			                     number, error.text);
		else
			json_array_append_new(rows, row);
	}
	free(line); /* getline's own */
	return status;
}

/* The rows inside of a whole document; NULL: it is none. */
static json_t *read_whole(FILE *file)
{
	json_t *all = json_loadf(file, 0, NULL), *rows = json_object_get(all, "rows");
	if (json_is_array(all))
		return all;
	if (json_is_array(rows))
		json_incref(rows);
	else
		rows = NULL;
	json_decref(all);
	return rows;
}

ufm_status row_file_read(const char *path, json_t **out)
{
	FILE *file = fopen(path, "re");
	ufm_status status = UFM_OK;
	if (!file)
		return status_fail(UFM_EFILE, "%s: cannot be read", path);
	json_t *rows = read_whole(file);
	if (!rows) {
		rewind(file);
		rows = json_array();
		status = read_lines(file, path, rows);
	}
	fclose(file);
	if (!status && json_array_size(rows) == 0)
		status = status_fail(UFM_EFORMAT, "%s: found no row, expected rows of ufm bench", path);
	if (status)
		json_decref(rows);
	else
		*out = rows;
	return status;
}
