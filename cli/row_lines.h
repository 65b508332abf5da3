/* SPDX-License-Identifier: MIT */
/* Files of rows: a JSON object a line. */
#ifndef CLI_ROW_LINES_H
#define CLI_ROW_LINES_H

#include <jansson.h>
#include <ufm/ufm.h>

/* Gets each row in turn, on its line of the file; keeps it by json_incref. Its message begins with what is wrong with
 * the row: file and line are put before it. */
typedef ufm_status (*row_taker)(void *ctx, unsigned line, json_t *row);

/* Blank lines are passed over. A last line without its end that is no JSON was cut when its writer was killed: it is
 * left out with a warning. UFM_EFILE, UFM_EFORMAT (another line that is no object, or no row at all; `what` they
 * should be of, as in "ufm bench"), and what the taker says. */
ufm_status row_lines_read(const char *path, const char *what, row_taker take, void *ctx);

#endif
