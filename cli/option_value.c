/* SPDX-License-Identifier: MIT */
/* Values of options: from text with every check, and back to text. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/status.h"
#include "cli/nearest.h"
#include "cli/options.h"

static void *field(const option_spec *spec, void *values)
{
	return (char *)values + spec->offset;
}

static uint64_t max_of(const option_spec *spec)
{
	if (spec->max)
		return spec->max;
	return spec->type == OPTION_U64 || spec->type == OPTION_SIZE ? UINT64_MAX : UINT32_MAX;
}

char *option_choice_name(const char *choices, uint32_t index, char *buffer, size_t size)
{
	size_t length;
	for (; index && *choices; index--) {
		choices += strcspn(choices, "|");
		choices += *choices == '|';
	}
	length = strcspn(choices, ",|");
	if (length >= size)
		length = size - 1;
	memcpy(buffer, choices, length);
	buffer[length] = '\0';
	return buffer;
}

/* "f32, bf16" of "f32,fp32|bf16". */
static void choice_names(const char *choices, char *buffer, size_t size)
{
	char name[32];
	size_t used = 0;
	buffer[0] = '\0';
	for (uint32_t i = 0; *option_choice_name(choices, i, name, sizeof name) && used < size; i++)
		used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", name);
}

static void expected_range(const option_spec *spec, const char *what, char *buffer, size_t size)
{
	if (spec->max)
		snprintf(buffer, size, "%s from %" PRIu64 " to %" PRIu64, what, spec->min, spec->max);
	else
		snprintf(buffer, size, "%s of at least %" PRIu64, what, spec->min);
}

static void expected_text(const option_spec *spec, char *buffer, size_t size)
{
	char names[192];
	switch (spec->type) {
	case OPTION_U32:
	case OPTION_U64:
		expected_range(spec, "a whole number", buffer, size);
		break;
	case OPTION_U32_LIST:
		expected_range(spec, "different whole numbers, separated by commas, each", buffer, size);
		break;
	case OPTION_SIZE:
		snprintf(buffer, size, "a size such as 16GiB, 512MiB or 17179869184%s",
		         spec->min ? ", not 0" : "");
		break;
	case OPTION_NUMBER:
		snprintf(buffer, size, "a number above 0 and at most %" PRIu64, max_of(spec));
		break;
	case OPTION_CHOICE:
	case OPTION_CHOICES:
		choice_names(spec->choices, names, sizeof names);
		snprintf(buffer, size, "%s %s",
		         spec->type == OPTION_CHOICE ? "one of"
		                                     : "different names, separated by commas, of",
		         names);
		break;
	case OPTION_STRING:
	case OPTION_FLAG:
		snprintf(buffer, size, "%s", spec->value_name ? spec->value_name : "nothing");
		break;
	}
}

static nearest_hint hint_for(const option_spec *spec, const char *text)
{
	char names[256];
	if (spec->type == OPTION_SIZE) {
		nearest_hint size = nearest_size(text);
		if (*size.text)
			return size;
	}
	snprintf(names, sizeof names, "%s,%s", spec->choices ? spec->choices : "",
	         spec->zero_word ? spec->zero_word : "");
	return nearest_name(text, names);
}

static ufm_status wrong_value(const option_spec *spec, const char *text)
{
	char expected[256];
	expected_text(spec, expected, sizeof expected);
	return status_fail(UFM_EINVAL, "found '%.60s', expected %s%s%s%s", text, expected,
	                   spec->zero_word ? ", or " : "", spec->zero_word ? spec->zero_word : "",
	                   hint_for(spec, text).text);
}

/* Digits alone (or 0x and hex digits), within the option's range. */
static bool parse_whole(const option_spec *spec, const char *text, size_t length, uint64_t *out)
{
	bool hex = spec->type == OPTION_U64 && length > 2 && text[0] == '0' && text[1] == 'x';
	const char *digits = hex ? "0123456789abcdef" : "0123456789";
	uint64_t base = hex ? 16 : 10, value = 0;
	if (length == 0)
		return false;
	for (size_t i = hex ? 2 : 0; i < length; i++) {
		const char *at = text[i] ? strchr(digits, text[i]) : NULL;
		uint64_t digit;
		if (!at)
			return false;
		digit = (uint64_t)(at - digits);
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	*out = value;
	return value >= spec->min && value <= max_of(spec);
}

static bool parse_number(const option_spec *spec, const char *text, double *out)
{
	char *end = NULL;
	double value;
	if (strspn(text, "0123456789.eE+-") != strlen(text))
		return false;
	value = strtod(text, &end);
	if (end == text || *end || !isfinite(value))
		return false;
	*out = value;
	return value > 0 && value <= (double)max_of(spec);
}

static bool parse_size(const option_spec *spec, const char *text, uint64_t *out)
{
	return size_parse(text, out) == UFM_OK && *out >= spec->min && *out <= max_of(spec);
}

static bool same_word(const char *word, const char *text, size_t length)
{
	return strlen(word) == length && memcmp(word, text, length) == 0;
}

static bool parse_choice(const option_spec *spec, const char *text, size_t length, uint32_t *out)
{
	uint32_t index = 0;
	for (const char *at = spec->choices; *at;) {
		size_t span = strcspn(at, ",|");
		if (span == length && length && memcmp(at, text, length) == 0) {
			*out = index;
			return true;
		}
		index += at[span] == '|';
		at += span + (at[span] != '\0');
	}
	return false;
}

static bool parse_item(const option_spec *spec, const char *text, size_t length, uint32_t *out)
{
	uint64_t value;
	if (spec->type == OPTION_CHOICES)
		return parse_choice(spec, text, length, out);
	if (!parse_whole(spec, text, length, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

static bool list_has(const option_list *list, uint32_t item)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->items[i] == item)
			return true;
	return false;
}

static bool parse_list(const option_spec *spec, const char *text, option_list *out)
{
	option_list list = {.count = 0};
	for (;;) {
		size_t length = strcspn(text, ",");
		uint32_t item = 0;
		if (list.count == OPTION_LIST_MAX || !parse_item(spec, text, length, &item) ||
		    list_has(&list, item))
			return false;
		list.items[list.count++] = item;
		if (text[length] == '\0')
			break;
		text += length + 1;
	}
	*out = list;
	return true;
}

static ufm_status parse_string(const option_spec *spec, const char *text, const char **out)
{
	if (*text == '\0')
		return wrong_value(spec, text);
	ufm_status status = spec->check ? spec->check(text) : UFM_OK;
	if (status)
		return status;
	*out = text;
	return UFM_OK;
}

static bool parse_u32(const option_spec *spec, const char *text, uint32_t *out)
{
	uint64_t value;
	if (!parse_whole(spec, text, strlen(text), &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

static void set_zero(const option_spec *spec, void *at)
{
	switch (spec->type) {
	case OPTION_SIZE:
	case OPTION_U64:
		*(uint64_t *)at = 0;
		break;
	case OPTION_NUMBER:
		*(double *)at = 0;
		break;
	default:
		*(uint32_t *)at = 0;
		break;
	}
}

static bool parse_into(const option_spec *spec, const char *text, void *at)
{
	uint64_t wide = 0;
	double number = 0;
	switch (spec->type) {
	case OPTION_U32:
		return parse_u32(spec, text, at);
	case OPTION_U64:
	case OPTION_SIZE:
		if (!(spec->type == OPTION_SIZE ? parse_size(spec, text, &wide)
		                                : parse_whole(spec, text, strlen(text), &wide)))
			return false;
		*(uint64_t *)at = wide;
		return true;
	case OPTION_NUMBER:
		if (!parse_number(spec, text, &number))
			return false;
		*(double *)at = number;
		return true;
	case OPTION_CHOICE:
		return parse_choice(spec, text, strlen(text), at);
	case OPTION_CHOICES:
	case OPTION_U32_LIST:
		return parse_list(spec, text, at);
	case OPTION_STRING:
	case OPTION_FLAG:
		break;
	}
	return false;
}

ufm_status option_value_parse(const option_spec *spec, const char *text, void *values)
{
	void *at = field(spec, values);
	if (spec->type == OPTION_STRING)
		return parse_string(spec, text, at);
	if (spec->zero_word && same_word(spec->zero_word, text, strlen(text))) {
		set_zero(spec, at);
		return UFM_OK;
	}
	return parse_into(spec, text, at) ? UFM_OK : wrong_value(spec, text);
}
