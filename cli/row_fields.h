/* SPDX-License-Identifier: MIT */
/* The fields of a row of `ufm bench`, out of row_fields.def: rows are written by them, and what was read from a file is
 * held against their ranges where it is read. */
#ifndef CLI_ROW_FIELDS_H
#define CLI_ROW_FIELDS_H

#include <jansson.h>
#include <stdint.h>
#include <ufm/ufm.h>

typedef enum field_kind {
	FIELD_WHOLE,
	FIELD_NUMBER,
	FIELD_TEXT,
	FIELD_FLAG,
	FIELD_LIST,
	FIELD_OBJECT
} field_kind;

typedef struct row_field {
	const char *name;
	field_kind kind;
	uint64_t least, most; /* of a whole number, or of a list's length */
	double low, high;     /* of a number; themselves in range, as are the two above */
} row_field;

typedef enum row_field_id {
#define ROW_FIELD(name, form, meaning) ROW_##name,
#include "cli/row_fields.def"
#undef ROW_FIELD
	ROW_FIELD_COUNT
} row_field_id;

extern const row_field row_fields[ROW_FIELD_COUNT];

/* For cli/json_field.h. A name that the table lacks does not compile. */
#define ROW_NAME(field) (row_fields[ROW_##field].name)

/* A row while it is written; zeros: nothing was put. */
typedef struct row_values {
	json_t *of[ROW_FIELD_COUNT];
} row_values;

/* Takes the value, which is of the field's kind; NULL is null. Each field is put once, in any order. */
void row_put(row_values *v, row_field_id field, json_t *value);
/* The row, in the order of the table. Every field was put. */
json_t *row_object(const row_values *v);

/* What is null or not there is 0, and refused where 0 is out of range. UFM_EFORMAT: "NAME: found …, expected …", to
 * which the caller adds the file and the line. */
ufm_status row_whole(const json_t *row, const row_field *field, uint64_t *out);
ufm_status row_u32(const json_t *row, const row_field *field, uint32_t *out);
ufm_status row_number(const json_t *row, const row_field *field, double *out);

#endif
