/* SPDX-License-Identifier: MIT */
/* Fields of a JSON object that a report makes. */
#ifndef CLI_JSON_PUT_H
#define CLI_JSON_PUT_H

#include <jansson.h>
#include <stdint.h>

/* Takes the value; NULL is null. */
static inline void json_put(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value ? value : json_null());
}

/* NULL where there is nothing to divide by. */
static inline json_t *json_share(uint64_t part, uint64_t of)
{
	return of ? json_real((double)part / (double)of) : NULL;
}

#endif
