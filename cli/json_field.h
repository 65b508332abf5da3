/* SPDX-License-Identifier: MIT */
/* Fields of a JSON object that a report made, for those who print it: what is null or not there is 0
 * or "". */
#ifndef CLI_JSON_FIELD_H
#define CLI_JSON_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

static inline bool field_known(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	return value && !json_is_null(value);
}

static inline double field_number(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

static inline uint64_t field_whole(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static inline const char *field_string(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

#endif
