/* SPDX-License-Identifier: MIT */
/* The table; rows that hold all of its fields and nothing else; numbers of rows, with their ranges. */
#include "cli/row_fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"
#include "cli/json_put.h"

/* Forms, in parentheses so that each stays one argument: kind, least, most, low, high. */
#define WHOLE(least, most) (FIELD_WHOLE, least, most, 0, 0)
#define NUMBER(low, high) (FIELD_NUMBER, 0, 0, low, high)
#define LIST(most) (FIELD_LIST, 0, most, 0, 0)
#define TEXT (FIELD_TEXT, 0, 0, 0, 0)
#define FLAG (FIELD_FLAG, 0, 0, 0, 0)
#define OBJECT (FIELD_OBJECT, 0, 0, 0, 0)
#define VALUES(...) __VA_ARGS__

const row_field row_fields[ROW_FIELD_COUNT] = {
#define ROW_FIELD(name, form, meaning) {#name, VALUES form},
#include "cli/row_fields.def"
#undef ROW_FIELD
};

/* ---- writing */

static bool is_of_kind(const json_t *value, field_kind kind)
{
	static const json_type types[] = {
		[FIELD_WHOLE] = JSON_INTEGER, [FIELD_NUMBER] = JSON_REAL, [FIELD_TEXT] = JSON_STRING,
		[FIELD_FLAG] = JSON_TRUE,     [FIELD_LIST] = JSON_ARRAY,  [FIELD_OBJECT] = JSON_OBJECT};
	json_type type = json_is_false(value) ? JSON_TRUE : json_typeof(value);
	return type == types[kind] || type == JSON_NULL;
}

void row_put(row_values *v, row_field_id field, json_t *value)
{
	assert(!v->of[field]);
	v->of[field] = value ? value : json_null();
	assert(is_of_kind(v->of[field], row_fields[field].kind));
}

json_t *row_object(const row_values *v)
{
	json_t *out = json_object();
	for (uint32_t i = 0; i < ROW_FIELD_COUNT; i++) {
		assert(v->of[i]);
		json_put(out, row_fields[i].name, v->of[i]);
	}
	return out;
}

/* ---- reading */

#define FOUND_BYTES 40 /* of a value as it stands in the file */

/* A value for a message. */
static const char *found(const json_t *value, char text[FOUND_BYTES])
{
	if (!value)
		return "nothing";
	size_t n = json_dumpb(value, text, FOUND_BYTES - 1, JSON_ENCODE_ANY | JSON_COMPACT);
	if (n == 0 || n >= FOUND_BYTES)
		return json_is_string(value) ? "a long text" : "a list or fields";
	text[n] = '\0';
	return text;
}

ufm_status row_whole(const json_t *row, const row_field *field, uint64_t *out)
{
	char text[FOUND_BYTES] = "";
	const json_t *value = json_object_get(row, field->name);
	json_int_t number = json_integer_value(value);
	bool nothing = !value || json_is_null(value);
	assert(field->kind == FIELD_WHOLE);
	if ((nothing || json_is_integer(value)) && number >= 0 && (uint64_t)number >= field->least &&
	    (uint64_t)number <= field->most) {
		*out = (uint64_t)number;
		return UFM_OK;
	}
	return status_fail(UFM_EFORMAT,
	                   "%s: found %s, expected a whole number from %" PRIu64 " to %" PRIu64,
	                   field->name, found(value, text), field->least, field->most);
}

ufm_status row_u32(const json_t *row, const row_field *field, uint32_t *out)
{
	uint64_t value;
	assert(field->most <= UINT32_MAX);
	ufm_status status = row_whole(row, field, &value);
	if (!status)
		*out = (uint32_t)value;
	return status;
}

ufm_status row_number(const json_t *row, const row_field *field, double *out)
{
	char text[FOUND_BYTES] = "";
	const json_t *value = json_object_get(row, field->name);
	double number = json_number_value(value);
	bool nothing = !value || json_is_null(value);
	assert(field->kind == FIELD_NUMBER);
	if ((nothing || json_is_number(value)) && number >= field->low && number <= field->high) {
		*out = number;
		return UFM_OK;
	}
	return status_fail(UFM_EFORMAT, "%s: found %s, expected a number from %g to %g", field->name,
	                   found(value, text), field->low, field->high);
}
