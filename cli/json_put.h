/* SPDX-License-Identifier: MIT */
/* Members of JSON that a report makes. Every member goes through here, so that none is ever missing. */
#ifndef CLI_JSON_PUT_H
#define CLI_JSON_PUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Takes the value. NULL is null: what is not known, and a number that is none (jansson makes no value of NaN and
 * infinity, which JSON cannot say). */
static inline void json_put(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value ? value : json_null());
}

static inline void json_add(json_t *array, json_t *value)
{
	json_array_append_new(array, value ? value : json_null());
}

static inline json_t *json_whole(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* NULL where it is not known. */
static inline json_t *json_known(bool known, double value)
{
	return known ? json_real(value) : NULL;
}

/* NULL where there is nothing to divide by. */
static inline json_t *json_share(uint64_t part, uint64_t of)
{
	return of ? json_real((double)part / (double)of) : NULL;
}

#endif
