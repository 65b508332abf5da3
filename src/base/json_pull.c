/* SPDX-License-Identifier: MIT */
/* A strict pull reader for JSON: structure, literals and numbers. Strings are in json_pull_string.c. */
#include "base/json_pull.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_pull_int.h"
#include "base/status.h"

#define NUMBER_BYTES_MAX 64u

bool json_pull_unexpected(json_pull *r, const char *expected)
{
	unsigned char c = r->at < r->size ? (unsigned char)r->text[r->at] : 0;

	if (r->at >= r->size)
		r->status =
			status_fail(UFM_EFORMAT, "byte %zu: the text ends, expected %s", r->at, expected);
	else if (c >= 0x20 && c < 0x7f)
		r->status =
			status_fail(UFM_EFORMAT, "byte %zu: found '%c', expected %s", r->at, c, expected);
	else
		r->status =
			status_fail(UFM_EFORMAT, "byte %zu: found 0x%02x, expected %s", r->at, c, expected);
	return false;
}

static void skip_space(json_pull *r)
{
	while (r->at < r->size) {
		char c = r->text[r->at];

		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			return;
		r->at++;
	}
}

/* Passes the byte `c` if it comes next. */
static bool take(json_pull *r, char c)
{
	skip_space(r);
	if (r->at >= r->size || r->text[r->at] != c)
		return false;
	r->at++;
	return true;
}

void json_pull_begin(json_pull *r, char *text, size_t size)
{
	memset(r, 0, sizeof *r);
	r->text = text;
	r->size = size;
}

ufm_status json_pull_end(json_pull *r)
{
	if (!r->status) {
		skip_space(r);
		if (r->at < r->size)
			json_pull_unexpected(r, "nothing after the value");
	}
	alloc_free(r->keys);
	r->keys = NULL;
	return r->status;
}

json_pull_kind json_pull_peek(json_pull *r)
{
	if (r->status)
		return JSON_PULL_NONE;
	skip_space(r);
	if (r->at >= r->size)
		return JSON_PULL_NONE;
	switch (r->text[r->at]) {
	case '{':
		return JSON_PULL_OBJECT;
	case '[':
		return JSON_PULL_ARRAY;
	case '"':
		return JSON_PULL_STRING;
	case 't':
	case 'f':
		return JSON_PULL_BOOL;
	case 'n':
		return JSON_PULL_NULL;
	default:
		return JSON_PULL_NUMBER;
	}
}

static bool enter(json_pull *r, char bracket, const char *expected)
{
	if (r->status)
		return false;
	if (!take(r, bracket))
		return json_pull_unexpected(r, expected);
	if (r->depth == JSON_PULL_DEPTH_MAX) {
		r->status = status_fail(UFM_EFORMAT, "byte %zu: nested deeper than %u levels", r->at - 1,
		                        JSON_PULL_DEPTH_MAX);
		return false;
	}
	r->levels[r->depth++] = (json_pull_level){.first_key = r->key_count};
	return true;
}

bool json_pull_object(json_pull *r)
{
	return enter(r, '{', "an object");
}

bool json_pull_array(json_pull *r)
{
	return enter(r, '[', "an array");
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorting finds a second key in bounded time whatever the keys are, as a hash would not. */
static bool check_keys(json_pull *r)
{
	uint32_t first = r->levels[r->depth - 1].first_key, count = r->key_count - first;

	if (count > 1)
		qsort(&r->keys[first], count, sizeof *r->keys, compare_keys);
	for (uint32_t i = first + 1; i < r->key_count; i++) {
		if (strcmp(r->keys[i - 1], r->keys[i]) == 0) {
			r->status = status_fail(UFM_EFORMAT, "the key \"%.200s\" stands twice in one object",
			                        r->keys[i]);
			return false;
		}
	}
	r->key_count = first;
	return true;
}

static bool push_key(json_pull *r, const char *key)
{
	const char **keys;

	if (r->key_count == JSON_PULL_KEYS_MAX) {
		r->status =
			status_fail(UFM_EFORMAT, "byte %zu: more than %u keys", r->at, JSON_PULL_KEYS_MAX);
		return false;
	}
	keys = alloc_grow((void *)r->keys, r->key_count, &r->key_room, sizeof *keys);
	if (!keys) {
		r->status = UFM_ENOMEM;
		return false;
	}
	r->keys = keys;
	keys[r->key_count++] = key;
	return true;
}

/* Passes the closing bracket, or the comma before the next member. */
static bool next(json_pull *r, char bracket, const char *expected)
{
	json_pull_level *level;

	if (r->status)
		return false;
	level = &r->levels[r->depth - 1];
	if (take(r, bracket)) {
		if (check_keys(r))
			r->depth--;
		return false;
	}
	if (level->filled && !take(r, ','))
		return json_pull_unexpected(r, expected);
	level->filled = true;
	return true;
}

bool json_pull_next_key(json_pull *r, const char **key)
{
	if (!next(r, '}', "',' or '}'"))
		return false;
	skip_space(r);
	if (r->at >= r->size || r->text[r->at] != '"')
		return json_pull_unexpected(r, "a key in quotes");
	if (!json_pull_string(r, key) || !push_key(r, *key))
		return false;
	return take(r, ':') || json_pull_unexpected(r, "':'");
}

bool json_pull_next_item(json_pull *r)
{
	return next(r, ']', "',' or ']'");
}

static size_t digits(const json_pull *r, size_t at)
{
	size_t from = at;

	while (at < r->size && r->text[at] >= '0' && r->text[at] <= '9')
		at++;
	return at - from;
}

/* The length of the number that begins here, by the grammar; 0 when there is none. */
static size_t number_bytes(const json_pull *r)
{
	size_t at = r->at, n;

	if (at < r->size && r->text[at] == '-')
		at++;
	n = digits(r, at);
	if (n == 0 || (n > 1 && r->text[at] == '0'))
		return 0;
	at += n;
	if (at < r->size && r->text[at] == '.') {
		n = digits(r, at + 1);
		if (n == 0)
			return 0;
		at += 1 + n;
	}
	if (at < r->size && (r->text[at] == 'e' || r->text[at] == 'E')) {
		at++;
		if (at < r->size && (r->text[at] == '+' || r->text[at] == '-'))
			at++;
		n = digits(r, at);
		if (n == 0)
			return 0;
		at += n;
	}
	return at - r->at;
}

/* The length of the word that Python writes for what is no number of JSON; 0 when there is none. */
static size_t python_word_bytes(const json_pull *r)
{
	static const char *const words[] = {"NaN", "Infinity", "-Infinity"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		size_t n = strlen(words[i]);

		if (r->size - r->at >= n && memcmp(r->text + r->at, words[i], n) == 0)
			return n;
	}
	return 0;
}

bool json_pull_number(json_pull *r, const char **text, size_t *size_bytes)
{
	size_t n;

	if (r->status)
		return false;
	skip_space(r);
	n = number_bytes(r);
	if (n == 0 && r->python)
		n = python_word_bytes(r);
	if (n == 0 || (n >= NUMBER_BYTES_MAX && !r->python))
		return json_pull_unexpected(r, n ? "a number of at most 63 characters" : "a value");
	*text = r->text + r->at;
	*size_bytes = n;
	r->at += n;
	return true;
}

/* Copies the number that comes next, and passes it. */
static bool take_number(json_pull *r, char out[NUMBER_BYTES_MAX])
{
	size_t n;

	if (r->status)
		return false;
	skip_space(r);
	n = number_bytes(r);
	if (n == 0 || n >= NUMBER_BYTES_MAX)
		return json_pull_unexpected(r, n ? "a number of at most 63 characters" : "a value");
	memcpy(out, r->text + r->at, n);
	out[n] = '\0';
	r->at += n;
	return true;
}

bool json_pull_u64(json_pull *r, uint64_t *out)
{
	char text[NUMBER_BYTES_MAX];
	unsigned long long value;

	if (!r->status && json_pull_peek(r) != JSON_PULL_NUMBER)
		return json_pull_unexpected(r, "a whole number");
	if (!take_number(r, text))
		return false;
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (text[strspn(text, "0123456789")] != '\0' || errno) {
		r->status = status_fail(UFM_EFORMAT, "found %s, expected a whole number below 2^64", text);
		return false;
	}
	*out = value;
	return true;
}

/* The decimal point of the process's locale may be another one than JSON's. */
static bool parse_double(const char *text, double *out)
{
	locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);

	if (!c)
		return false;
	*out = strtod_l(text, NULL, c);
	freelocale(c);
	return true;
}

bool json_pull_double(json_pull *r, double *out)
{
	char text[NUMBER_BYTES_MAX];

	if (!r->status && json_pull_peek(r) != JSON_PULL_NUMBER)
		return json_pull_unexpected(r, "a number");
	if (!take_number(r, text))
		return false;
	if (!parse_double(text, out))
		r->status = status_fail(UFM_ENOMEM, "host memory: no room for a locale");
	return !r->status;
}

static bool take_word(json_pull *r, const char *word)
{
	size_t n = strlen(word);

	if (r->size - r->at < n || memcmp(r->text + r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

bool json_pull_bool(json_pull *r, bool *out)
{
	if (r->status)
		return false;
	skip_space(r);
	if (take_word(r, "true"))
		*out = true;
	else if (take_word(r, "false"))
		*out = false;
	else
		return json_pull_unexpected(r, "true or false");
	return true;
}

static bool skip_members(json_pull *r, json_pull_kind kind)
{
	const char *key;

	if (kind == JSON_PULL_OBJECT) {
		json_pull_object(r);
		while (json_pull_next_key(r, &key))
			json_pull_skip(r);
	} else {
		json_pull_array(r);
		while (json_pull_next_item(r))
			json_pull_skip(r);
	}
	return !r->status;
}

/* Its own recursion ends at JSON_PULL_DEPTH_MAX. */
bool json_pull_skip(json_pull *r)
{
	const char *text;
	size_t size_bytes;
	bool truth;
	json_pull_kind kind = json_pull_peek(r);

	switch (kind) {
	case JSON_PULL_OBJECT:
	case JSON_PULL_ARRAY:
		return skip_members(r, kind);
	case JSON_PULL_STRING:
		return json_pull_string(r, &text);
	case JSON_PULL_BOOL:
		return json_pull_bool(r, &truth);
	case JSON_PULL_NULL:
		return take_word(r, "null") || json_pull_unexpected(r, "null");
	case JSON_PULL_NUMBER:
		return json_pull_number(r, &text, &size_bytes);
	case JSON_PULL_NONE:
		break;
	}
	return !r->status && json_pull_unexpected(r, "a value");
}
