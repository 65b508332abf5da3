/* SPDX-License-Identifier: MIT */
/* Fields of rows that were read from a file: each number is held against its range here, where it is read. */
#ifndef CLI_ROW_FIELD_H
#define CLI_ROW_FIELD_H

#include <jansson.h>
#include <stdint.h>
#include <ufm/ufm.h>

/* What is null or not there is 0, and refused where 0 is out of range. UFM_EFORMAT: "NAME: found …, expected …", to
 * which the caller adds the file and the line. */
ufm_status row_whole(const json_t *row, const char *name, uint64_t least, uint64_t most,
                     uint64_t *out);
ufm_status row_u32(const json_t *row, const char *name, uint32_t least, uint32_t most,
                   uint32_t *out);
/* least and most themselves are in range. */
ufm_status row_number(const json_t *row, const char *name, double least, double most, double *out);
/* A text, or "" for what is null or not there; the row's. */
ufm_status row_text(const json_t *row, const char *name, const char **out);

#endif
