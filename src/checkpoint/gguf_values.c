/* SPDX-License-Identifier: MIT */
/* The key-values of a GGUF header. Long arrays (a tokenizer's are megabytes) are walked over, not copied. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/utf8.h"
#include "checkpoint/gguf_int.h"

#define KEY_BYTES_MAX 65535u

/* By their numbers in the file. */
typedef enum value_type {
	TYPE_U8,
	TYPE_I8,
	TYPE_U16,
	TYPE_I16,
	TYPE_U32,
	TYPE_I32,
	TYPE_F32,
	TYPE_BOOL,
	TYPE_STRING,
	TYPE_ARRAY,
	TYPE_U64,
	TYPE_I64,
	TYPE_F64,
	TYPE_END,
} value_type;

/* Bytes of a value; of a string or array the fewest that it can have. */
static const uint8_t type_bytes[TYPE_END] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

static double load_float(const uint8_t *at)
{
	float value;

	memcpy(&value, at, sizeof value);
	return value;
}

static double load_double(const uint8_t *at)
{
	double value;

	memcpy(&value, at, sizeof value);
	return value;
}

static double load_number(value_type type, const uint8_t *at)
{
	uint64_t bits = gguf_load(at, type_bytes[type]);

	switch (type) {
	case TYPE_I8:
		return (int8_t)bits;
	case TYPE_I16:
		return (int16_t)bits;
	case TYPE_I32:
		return (int32_t)bits;
	case TYPE_I64:
		return (double)(int64_t)bits;
	case TYPE_F32:
		return load_float(at);
	case TYPE_F64:
		return load_double(at);
	default:
		return (double)bits;
	}
}

static ufm_status take_type(gguf_reader *r, value_type *out)
{
	uint32_t number;
	ufm_status status = gguf_take_u32(r, &number);

	if (status)
		return status;
	if (number >= TYPE_END)
		return status_fail(UFM_EFORMAT, "its type is %u, expected 0 … %d", number, TYPE_END - 1);
	*out = (value_type)number;
	return UFM_OK;
}

/* One behind the other: numbers or truths. */
static ufm_status take_numbers(gguf_reader *r, value_type type, uint64_t count, gguf_value *v)
{
	const uint8_t *at;
	ufm_status status = gguf_take(r, count * type_bytes[type], &at);

	if (status)
		return status;
	v->is_measured = count > 0;
	for (uint64_t i = 0; i < count; i++) {
		double value = load_number(type, at + i * type_bytes[type]);
		if (type == TYPE_BOOL && value > 1)
			return status_fail(UFM_EFORMAT, "a truth is %.0f, expected 0 or 1", value);
		v->low = i ? fmin(v->low, value) : value;
		v->high = i ? fmax(v->high, value) : value;
	}
	return UFM_OK;
}

static ufm_status take_text(gguf_reader *r, gguf_value *v)
{
	gguf_slice text;
	ufm_status status = gguf_take_string(r, 0, UINT64_MAX, &text);

	if (status)
		return status;
	if (!utf8_is_valid(text.at, text.bytes))
		return status_fail(UFM_EFORMAT, "its text is not UTF-8");
	if (text.bytes > GGUF_TEXT_BYTES_MAX || memchr(text.at, 0, text.bytes))
		return UFM_OK;
	v->text = (const char *)text.at;
	v->text_bytes = text.bytes;
	return UFM_OK;
}

static ufm_status skip_items(gguf_reader *r, value_type item, uint64_t count, unsigned depth);

/* An array's type and length, of which the file must have room for all. */
static ufm_status take_array_head(gguf_reader *r, value_type *item, uint64_t *count)
{
	ufm_status status = take_type(r, item);

	if (!status)
		status = gguf_take_u64(r, count);
	if (!status && *count > gguf_left(r) / type_bytes[*item])
		return status_fail(UFM_EFORMAT, "an array of %llu, the file has %llu bytes more",
		                   (unsigned long long)*count, (unsigned long long)gguf_left(r));
	return status ? status : gguf_check_room(r, *count * type_bytes[*item]);
}

static ufm_status skip_array(gguf_reader *r, unsigned depth)
{
	value_type item;
	uint64_t count;
	ufm_status status;

	if (depth > GGUF_ARRAY_DEPTH_MAX)
		return status_fail(UFM_EFORMAT, "arrays in arrays in more than %u levels",
		                   GGUF_ARRAY_DEPTH_MAX);
	status = take_array_head(r, &item, &count);
	return status ? status : skip_items(r, item, count, depth);
}

static ufm_status skip_items(gguf_reader *r, value_type item, uint64_t count, unsigned depth)
{
	gguf_value ignored = {0};
	ufm_status status = UFM_OK;
	gguf_slice text;

	if (item != TYPE_STRING && item != TYPE_ARRAY)
		return take_numbers(r, item, count, &ignored);
	for (uint64_t i = 0; i < count && !status; i++)
		status = item == TYPE_STRING ? gguf_take_string(r, 0, UINT64_MAX, &text)
		                             : skip_array(r, depth + 1);
	return status;
}

static ufm_status take_array(gguf_reader *r, gguf_value *v)
{
	value_type item;
	ufm_status status = take_array_head(r, &item, &v->count);

	if (status)
		return status;
	if (item == TYPE_STRING || item == TYPE_ARRAY)
		return skip_items(r, item, v->count, 1);
	return take_numbers(r, item, v->count, v);
}

static ufm_status take_value(gguf_reader *r, gguf_value *v)
{
	value_type type;
	ufm_status status = take_type(r, &type);

	if (status)
		return status;
	v->count = 1;
	v->kind = type == TYPE_STRING  ? GGUF_TEXT
	          : type == TYPE_ARRAY ? GGUF_ARRAY
	          : type == TYPE_BOOL  ? GGUF_BOOL
	                               : GGUF_NUMBER;
	switch (v->kind) {
	case GGUF_TEXT:
		return take_text(r, v);
	case GGUF_ARRAY:
		return take_array(r, v);
	default:
		return take_numbers(r, type, 1, v);
	}
}

static ufm_status take_pair(gguf_reader *r, gguf_value *v)
{
	gguf_slice key;
	ufm_status status = gguf_take_name(r, KEY_BYTES_MAX, "key", &key);

	if (status)
		return status;
	v->key = (const char *)key.at;
	status = take_value(r, v);
	return status ? status_prefix(status, "key \"%.*s\"", (int)(key.bytes < 200 ? key.bytes : 200),
	                              v->key)
	              : UFM_OK;
}

ufm_status gguf_read_values(gguf_reader *r, uint64_t count, gguf_values *out)
{
	for (uint64_t i = 0; i < count; i++) {
		gguf_value v = {0};
		ufm_status status = take_pair(r, &v);
		gguf_value *items;

		if (status)
			return status;
		items = alloc_grow(out->items, out->count, &out->room, sizeof *items);
		if (!items)
			return UFM_ENOMEM;
		out->items = items;
		items[out->count++] = v;
	}
	return UFM_OK;
}

/* ---- what is kept */

uint64_t gguf_values_text_bytes(const gguf_values *values)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < values->count; i++) {
		const gguf_value *v = &values->items[i];
		bytes += gguf_string_bytes(v->key) + 1;
		bytes += v->text ? gguf_string_bytes(v->text) + 1 : 0;
	}
	return bytes;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const gguf_value *)a)->key, ((const gguf_value *)b)->key);
}

ufm_status gguf_values_settle(gguf_values *values, char **text)
{
	gguf_value *items = values->items;

	for (uint32_t i = 0; i < values->count; i++) {
		items[i].key = gguf_keep_string(items[i].key, text);
		if (items[i].text)
			items[i].text = gguf_keep_string(items[i].text, text);
	}
	if (values->count > 1)
		qsort(items, values->count, sizeof *items, compare_keys);
	for (uint32_t i = 1; i < values->count; i++) {
		if (strcmp(items[i - 1].key, items[i].key) == 0)
			return status_fail(UFM_EFORMAT, "the key \"%.200s\" stands twice", items[i].key);
	}
	return UFM_OK;
}

/* ---- what is asked */

const gguf_value *gguf_find(const gguf_values *values, const char *key)
{
	const gguf_value wanted = {.key = key};

	if (!values->count)
		return NULL;
	return bsearch(&wanted, values->items, values->count, sizeof wanted, compare_keys);
}

/* The first characters of a text, which the header does not terminate. */
static void write_text(const gguf_value *v, char *words, size_t size)
{
	int bytes = v->text_bytes < 40 ? (int)v->text_bytes : 40;

	if (v->text)
		snprintf(words, size, "\"%.*s\"", bytes, v->text);
	else
		snprintf(words, size, "\"…\"");
}

const char *gguf_value_words(const gguf_value *v, char *text, size_t size)
{
	switch (v->kind) {
	case GGUF_NUMBER:
		snprintf(text, size, "%.9g", v->low);
		break;
	case GGUF_BOOL:
		snprintf(text, size, "%s", v->low > 0 ? "true" : "false");
		break;
	case GGUF_TEXT:
		write_text(v, text, size);
		break;
	case GGUF_ARRAY:
		snprintf(text, size, "an array of %llu", (unsigned long long)v->count);
		break;
	}
	return text;
}

bool gguf_value_whole(const gguf_value *v, uint32_t least, uint32_t most, uint32_t *out)
{
	if (v->kind != GGUF_NUMBER || !(v->low >= least && v->low <= most) || floor(v->low) < v->low)
		return false;
	*out = (uint32_t)v->low;
	return true;
}
