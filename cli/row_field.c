/* SPDX-License-Identifier: MIT */
/* Numbers and texts of rows, with their ranges. */
#include "cli/row_field.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"

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

ufm_status row_whole(const json_t *row, const char *name, uint64_t least, uint64_t most,
                     uint64_t *out)
{
	char text[FOUND_BYTES] = "";
	const json_t *value = json_object_get(row, name);
	json_int_t number = json_integer_value(value);
	bool nothing = !value || json_is_null(value);
	if ((nothing || json_is_integer(value)) && number >= 0 && (uint64_t)number >= least &&
	    (uint64_t)number <= most) {
		*out = (uint64_t)number;
		return UFM_OK;
	}
	return status_fail(UFM_EFORMAT,
	                   "%s: found %s, expected a whole number from %" PRIu64 " to %" PRIu64, name,
	                   found(value, text), least, most);
}

ufm_status row_u32(const json_t *row, const char *name, uint32_t least, uint32_t most,
                   uint32_t *out)
{
	uint64_t value;
	ufm_status status = row_whole(row, name, least, most, &value);
	if (!status)
		*out = (uint32_t)value;
	return status;
}

ufm_status row_number(const json_t *row, const char *name, double least, double most, double *out)
{
	char text[FOUND_BYTES] = "";
	const json_t *value = json_object_get(row, name);
	double number = json_number_value(value);
	bool nothing = !value || json_is_null(value);
	if ((nothing || json_is_number(value)) && number >= least && number <= most) {
		*out = number;
		return UFM_OK;
	}
	return status_fail(UFM_EFORMAT, "%s: found %s, expected a number from %g to %g", name,
	                   found(value, text), least, most);
}

ufm_status row_text(const json_t *row, const char *name, const char **out)
{
	char text[FOUND_BYTES] = "";
	const json_t *value = json_object_get(row, name);
	if (value && !json_is_null(value) && !json_is_string(value))
		return status_fail(UFM_EFORMAT, "%s: found %s, expected a text", name, found(value, text));
	const char *string = json_string_value(value);
	*out = string ? string : "";
	return UFM_OK;
}
