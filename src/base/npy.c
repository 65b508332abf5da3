/* SPDX-License-Identifier: MIT */
/* Parses and checks .npy headers. */
#include "base/npy.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/status.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define PREFIX_V1_BYTES 10 /* magic, two version bytes, 16-bit header length */
#define PREFIX_V2_BYTES 12 /* the same with a 32-bit header length */

static const struct {
	npy_type type;
	size_t bytes;
	const char *descr;
} types[] = {
	{NPY_U8, 1, "|u1"},  {NPY_U16, 2, "<u2"}, {NPY_I32, 4, "<i4"}, {NPY_U32, 4, "<u4"},
	{NPY_I64, 8, "<i8"}, {NPY_F32, 4, "<f4"}, {NPY_F64, 8, "<f8"},
};
#define TYPE_COUNT (sizeof types / sizeof types[0])

size_t npy_type_bytes(npy_type type)
{
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		if (types[i].type == type)
			return types[i].bytes;
	}
	return 0;
}

const char *npy_type_descr(npy_type type)
{
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		if (types[i].type == type)
			return types[i].descr;
	}
	return NULL;
}

/* The header is a Python dict literal; this reads the subset that NumPy writes. */
typedef struct header_text {
	const char *at, *end;
} header_text;

static ufm_status fail_header(const header_text *h, const char *expected)
{
	if (h->at == h->end)
		return status_fail(UFM_EFORMAT, "npy header: ends where %s was expected", expected);
	return status_fail(UFM_EFORMAT, "npy header: '%.*s' found where %s was expected",
	                   (int)(h->end - h->at < 16 ? h->end - h->at : 16), h->at, expected);
}

static void skip_blanks(header_text *h)
{
	while (h->at < h->end && (*h->at == ' ' || *h->at == '\t' || *h->at == '\n' || *h->at == '\r'))
		h->at++;
}

/* Takes c, after blanks. */
static bool take_char(header_text *h, char c)
{
	skip_blanks(h);
	if (h->at == h->end || *h->at != c)
		return false;
	h->at++;
	return true;
}

static bool take_word(header_text *h, const char *word)
{
	size_t length = strlen(word);

	skip_blanks(h);
	if ((size_t)(h->end - h->at) < length || memcmp(h->at, word, length) != 0)
		return false;
	h->at += length;
	return true;
}

typedef struct quoted_text {
	const char *text;
	size_t length;
} quoted_text;

static ufm_status take_quoted(header_text *h, const char *what, quoted_text *out)
{
	skip_blanks(h);
	if (h->at == h->end || (*h->at != '\'' && *h->at != '"'))
		return fail_header(h, what);
	const char *text = h->at + 1;
	const char *close = memchr(text, *h->at, (size_t)(h->end - text));
	if (!close)
		return status_fail(UFM_EFORMAT, "npy header: a string without its closing quote");
	*out = (quoted_text){text, (size_t)(close - text)};
	h->at = close + 1;
	return UFM_OK;
}

static bool quoted_is(quoted_text q, const char *word)
{
	assert(q.text);
	return q.length == strlen(word) && memcmp(q.text, word, q.length) == 0;
}

static ufm_status refuse_dtype(quoted_text q)
{
	int length = q.length < 16 ? (int)q.length : 16;
	const char *rule = "is not supported, expected |u1 <u2 <i4 <u4 <i8 <f4 or <f8";

	assert(q.text);
	if (q.length && q.text[0] == '>')
		rule = "is big-endian, expected little-endian";
	else if (q.length > 1 && q.text[1] == 'O')
		rule = "holds Python objects, expected numbers";
	return status_fail(UFM_EFORMAT, "npy header: dtype '%.*s' %s", length, q.text, rule);
}

static ufm_status take_descr(header_text *h, npy_array *out)
{
	quoted_text q = {0};

	skip_blanks(h);
	if (h->at < h->end && *h->at == '[')
		return status_fail(UFM_EFORMAT, "npy header: a structured dtype, expected numbers");
	ufm_status status = take_quoted(h, "a dtype string", &q);
	if (status != UFM_OK)
		return status;
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		if (quoted_is(q, types[i].descr)) {
			out->type = types[i].type;
			return UFM_OK;
		}
	}
	return refuse_dtype(q);
}

static ufm_status take_order(header_text *h)
{
	if (take_word(h, "True"))
		return status_fail(UFM_EFORMAT, "npy header: fortran_order is True, expected False");
	return take_word(h, "False") ? UFM_OK : fail_header(h, "True or False");
}

static ufm_status take_dim(header_text *h, uint64_t *dim)
{
	uint64_t value = 0;

	skip_blanks(h);
	if (h->at < h->end && *h->at == '-')
		return status_fail(UFM_EFORMAT, "npy header: shape has a negative dimension");
	if (h->at == h->end || *h->at < '0' || *h->at > '9')
		return fail_header(h, "a dimension of the shape");
	for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*h->at - '0'), &value) || value > INT64_MAX)
			return status_fail(UFM_EFORMAT, "npy header: shape has a dimension of 2^63 or more");
	}
	*dim = value;
	return UFM_OK;
}

/* A tuple of integers: (), (3,), (3, 4). */
static ufm_status take_shape(header_text *h, npy_array *out)
{
	uint64_t dim = 0;
	bool comma = true;

	if (!take_char(h, '('))
		return fail_header(h, "a shape in parentheses");
	out->dims = 0;
	while (!take_char(h, ')')) {
		if (!comma)
			return fail_header(h, "a comma or ')' in the shape");
		ufm_status status = take_dim(h, &dim);
		if (status != UFM_OK)
			return status;
		if (out->dims == NPY_DIMS_MAX)
			return status_fail(UFM_EFORMAT, "npy header: shape has more than %d dimensions",
			                   NPY_DIMS_MAX);
		out->shape[out->dims++] = dim;
		comma = take_char(h, ',');
	}
	if (out->dims == 1 && !comma)
		return status_fail(UFM_EFORMAT, "npy header: shape is a number, expected a tuple");
	return UFM_OK;
}

enum { KEY_DESCR = 1, KEY_ORDER = 2, KEY_SHAPE = 4, KEYS_ALL = 7 };

static const struct {
	const char *name;
	unsigned bit;
} keys[] = {{"descr", KEY_DESCR}, {"fortran_order", KEY_ORDER}, {"shape", KEY_SHAPE}};
#define KEY_COUNT (sizeof keys / sizeof keys[0])

static ufm_status take_key(header_text *h, unsigned *seen, unsigned *key)
{
	quoted_text q = {0};
	ufm_status status = take_quoted(h, "a key in quotes or '}'", &q);

	if (status != UFM_OK)
		return status;
	*key = 0;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (quoted_is(q, keys[i].name))
			*key = keys[i].bit;
	}
	int length = q.length < 32 ? (int)q.length : 32;
	if (!*key)
		return status_fail(UFM_EFORMAT, "npy header: unknown key '%.*s'", length, q.text);
	if (*seen & *key)
		return status_fail(UFM_EFORMAT, "npy header: key '%.*s' twice", length, q.text);
	*seen |= *key;
	return take_char(h, ':') ? UFM_OK : fail_header(h, "':' after a key");
}

static ufm_status take_value(header_text *h, unsigned key, npy_array *out)
{
	switch (key) {
	case KEY_DESCR:
		return take_descr(h, out);
	case KEY_ORDER:
		return take_order(h);
	default:
		return take_shape(h, out);
	}
}

static ufm_status parse_dict(header_text *h, npy_array *out)
{
	unsigned seen = 0, key = 0;
	bool comma = true;

	if (!take_char(h, '{'))
		return fail_header(h, "'{'");
	while (!take_char(h, '}')) {
		if (!comma)
			return fail_header(h, "a comma or '}'");
		ufm_status status = take_key(h, &seen, &key);
		if (status == UFM_OK)
			status = take_value(h, key, out);
		if (status != UFM_OK)
			return status;
		comma = take_char(h, ',');
	}
	skip_blanks(h);
	if (h->at != h->end)
		return fail_header(h, "padding to the header's end");
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (!(seen & keys[i].bit))
			return status_fail(UFM_EFORMAT, "npy header: key '%s' is missing", keys[i].name);
	}
	return UFM_OK;
}

/* Finds the header's text; version 3 differs from 2 only in allowing UTF-8 in names. */
static ufm_status find_header(const unsigned char *file, size_t file_bytes, header_text *out)
{
	if (file_bytes < MAGIC_BYTES || memcmp(file, MAGIC, MAGIC_BYTES) != 0)
		return status_fail(UFM_EFORMAT, "npy: bad magic, expected \\x93NUMPY");
	if (file_bytes < PREFIX_V1_BYTES)
		return status_fail(UFM_EFORMAT, "npy: truncated header, %zu bytes in all", file_bytes);
	unsigned major = file[6], minor = file[7];
	if (major < 1 || major > 3 || minor != 0)
		return status_fail(UFM_EFORMAT, "npy: version %u.%u, expected 1.0, 2.0 or 3.0", major,
		                   minor);
	size_t prefix_bytes = major == 1 ? PREFIX_V1_BYTES : PREFIX_V2_BYTES;
	if (file_bytes < prefix_bytes)
		return status_fail(UFM_EFORMAT, "npy: truncated header, %zu bytes in all", file_bytes);
	size_t header_bytes = (size_t)file[8] | (size_t)file[9] << 8;
	if (major > 1)
		header_bytes |= (size_t)file[10] << 16 | (size_t)file[11] << 24;
	if (header_bytes > file_bytes - prefix_bytes)
		return status_fail(UFM_EFORMAT, "npy: header length %zu beyond the file's %zu bytes",
		                   header_bytes, file_bytes);
	out->at = (const char *)file + prefix_bytes;
	out->end = out->at + header_bytes;
	return UFM_OK;
}

/* The product of the shape; a zero among its factors does not excuse the others from fitting. */
static ufm_status count_elements(npy_array *a, uint64_t *payload_bytes)
{
	uint64_t product = npy_type_bytes(a->type);
	bool empty = false;

	for (uint32_t i = 0; i < a->dims; i++) {
		empty |= a->shape[i] == 0;
		if (a->shape[i] &&
		    (__builtin_mul_overflow(product, a->shape[i], &product) || product > INT64_MAX))
			return status_fail(UFM_EFORMAT, "npy header: shape overflows 2^63 bytes");
	}
	*payload_bytes = empty ? 0 : product;
	a->count = *payload_bytes / npy_type_bytes(a->type);
	return UFM_OK;
}

ufm_status npy_parse(const void *file, size_t file_bytes, npy_array *out)
{
	npy_array parsed = {0};
	header_text header = {0};
	uint64_t payload_bytes = 0;

	ufm_status status = find_header(file, file_bytes, &header);
	if (status != UFM_OK)
		return status;
	parsed.data = header.end;
	status = parse_dict(&header, &parsed);
	if (status == UFM_OK)
		status = count_elements(&parsed, &payload_bytes);
	if (status != UFM_OK)
		return status;
	uint64_t found_bytes = file_bytes - (size_t)((const char *)parsed.data - (const char *)file);
	if (found_bytes != payload_bytes)
		return status_fail(
			UFM_EFORMAT, "npy: payload too %s: %" PRIu64 " bytes, the shape needs %" PRIu64,
			found_bytes < payload_bytes ? "short" : "long", found_bytes, payload_bytes);
	*out = parsed;
	return UFM_OK;
}
