/* SPDX-License-Identifier: MIT */
/*
 * A strict JSON reader (RFC 8259, UTF-8) for files that others wrote: the caller pulls one value after
 * the other, so a header of 100 MB costs its bytes and 8 for each key, not a tree of gigabytes.
 *
 * Strings are decoded in place: the text must be writable, and what was read points into it,
 * NUL-terminated. A key that stands twice in one object, in whatever spelling, a lone surrogate, an
 * escaped NUL and nesting beyond JSON_DEPTH_MAX are refused.
 *
 * The first failure (UFM_EFORMAT, UFM_ENOMEM) is kept: from then on every function returns false.
 *
 *     json_begin(&r, text, size);
 *     if (json_object(&r))
 *         while (json_next_key(&r, &key))
 *             … one of json_string, json_u64, json_object, json_skip …
 *     status = json_end(&r);
 */
#ifndef UFM_BASE_JSON_H
#define UFM_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

#define JSON_DEPTH_MAX 32u
#define JSON_KEYS_MAX (1u << 20) /* of all objects that are open at once */

typedef enum json_kind {
	JSON_NONE, /* a failure, or the end of the text */
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_BOOL,
	JSON_NULL,
} json_kind;

typedef struct json_level {
	uint32_t first_key; /* of json_reader.keys */
	bool filled;        /* a member was read: the next one needs a comma */
} json_level;

typedef struct json_reader {
	char *text;
	size_t size, at;
	ufm_status status;
	uint32_t depth;
	json_level levels[JSON_DEPTH_MAX];
	const char **keys;
	uint32_t key_count, key_room;
} json_reader;

void json_begin(json_reader *r, char *text, size_t size);
/* Frees what the reader holds. UFM_EFORMAT also when something follows the value. */
ufm_status json_end(json_reader *r);

/* What comes next, by its first byte. */
json_kind json_peek(json_reader *r);

/* Enter what must be an object or an array; `next` is false at its end, which is then passed. After
 * `true` exactly one value must be read. */
bool json_object(json_reader *r);
bool json_next_key(json_reader *r, const char **key);
bool json_array(json_reader *r);
bool json_next_item(json_reader *r);

bool json_string(json_reader *r, const char **out);
bool json_u64(json_reader *r, uint64_t *out); /* digits only: no sign, fraction or exponent */
bool json_double(json_reader *r, double *out);
bool json_bool(json_reader *r, bool *out);
/* Any value, with everything in it checked. */
bool json_skip(json_reader *r);

/* Ends the reading with the caller's own verdict, whose line is recorded already. */
static inline void json_stop(json_reader *r, ufm_status status)
{
	r->status = status;
}

#endif
