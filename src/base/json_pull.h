/* SPDX-License-Identifier: MIT */
/*
 * A strict JSON reader (RFC 8259, UTF-8) for files that others wrote: the caller pulls one value after
 * the other, so a header of 100 MB costs its bytes and 8 for each key, not a tree of ten times its size.
 *
 * Strings are decoded in place: the text must be writable, and what was read points into it,
 * NUL-terminated. A key that stands twice in one object, in whatever spelling, a lone surrogate, an
 * escaped NUL and nesting beyond JSON_PULL_DEPTH_MAX are refused.
 *
 * A text that Python's json module wrote may hold NaN, Infinity, -Infinity and numbers of any length. Who
 * sets `python` after json_pull_begin passes over those, too; no number of the kinds below is one.
 *
 * The first failure (UFM_EFORMAT, UFM_ENOMEM) is kept: from then on every function returns false.
 *
 *     json_pull_begin(&r, text, size);
 *     if (json_pull_object(&r))
 *         while (json_pull_next_key(&r, &key))
 *             … one of json_pull_string, json_pull_u64, json_pull_object, json_pull_skip …
 *     status = json_pull_end(&r);
 */
#ifndef UFM_BASE_JSON_PULL_H
#define UFM_BASE_JSON_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

#define JSON_PULL_DEPTH_MAX 32u
#define JSON_PULL_KEYS_MAX (1u << 20) /* of all objects that are open at once */

typedef enum json_pull_kind {
	JSON_PULL_NONE, /* a failure, or the end of the text */
	JSON_PULL_OBJECT,
	JSON_PULL_ARRAY,
	JSON_PULL_STRING,
	JSON_PULL_NUMBER,
	JSON_PULL_BOOL,
	JSON_PULL_NULL,
} json_pull_kind;

typedef struct json_pull_level {
	uint32_t first_key; /* of json_pull.keys */
	bool filled;        /* a member was read: the next one needs a comma */
} json_pull_level;

typedef struct json_pull {
	char *text;
	size_t size, at;
	ufm_status status;
	bool python;
	uint32_t depth;
	json_pull_level levels[JSON_PULL_DEPTH_MAX];
	const char **keys;
	uint32_t key_count, key_room;
} json_pull;

void json_pull_begin(json_pull *r, char *text, size_t size);
/* Frees what the reader holds. UFM_EFORMAT also when something follows the value. */
ufm_status json_pull_end(json_pull *r);

/* What comes next, by its first byte. */
json_pull_kind json_pull_peek(json_pull *r);

/* Enter what must be an object or an array; `next` is false at its end, which is then passed. After
 * `true` exactly one value must be read. */
bool json_pull_object(json_pull *r);
bool json_pull_next_key(json_pull *r, const char **key);
bool json_pull_array(json_pull *r);
bool json_pull_next_item(json_pull *r);

bool json_pull_string(json_pull *r, const char **out);
bool json_pull_u64(json_pull *r, uint64_t *out); /* digits only: no sign, fraction or exponent */
bool json_pull_double(json_pull *r, double *out);
bool json_pull_bool(json_pull *r, bool *out);
/* A number as it is spelt, not NUL-terminated. */
bool json_pull_number(json_pull *r, const char **text, size_t *size_bytes);
/* Any value, with everything in it checked. */
bool json_pull_skip(json_pull *r);

/* Ends the reading with the caller's own verdict, whose line is recorded already. */
static inline void json_pull_stop(json_pull *r, ufm_status status)
{
	r->status = status;
}

#endif
