/* SPDX-License-Identifier: MIT */
/* The options of a filter: "name=number,name=number". */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "store/store_int.h"

static const char *known_names(const store_option *options, uint32_t count, char *line, size_t size)
{
	size_t used = 0;

	line[0] = '\0';
	for (uint32_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(line + used, size - used, "%s%s", i ? ", " : "", options[i].name);
	return line;
}

static store_option *find_option(store_option *options, uint32_t count, const char *name,
                                 size_t length)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0)
			return &options[i];
	}
	return NULL;
}

/* Digits only: strtoull would also take a sign and leading spaces. */
static bool parse_number(const char *text, size_t length, uint64_t *value)
{
	char digits[21];
	char *end;

	if (length == 0 || length >= sizeof digits || strspn(text, "0123456789") < length)
		return false;
	memcpy(digits, text, length);
	digits[length] = '\0';
	errno = 0;
	*value = strtoull(digits, &end, 10);
	return errno == 0 && *end == '\0';
}

static ufm_status parse_one(const char *filter, const char *text, size_t length,
                            store_option *options, uint32_t count)
{
	const char *equals = memchr(text, '=', length);
	size_t name_length = equals ? (size_t)(equals - text) : length;
	store_option *option = find_option(options, count, text, name_length);
	char names[128];

	if (!option)
		return status_fail(UFM_EINVAL, "filter %s: unknown option \"%.*s\", expected %s", filter,
		                   (int)name_length, text,
		                   known_names(options, count, names, sizeof names));
	if (option->given)
		return status_fail(UFM_EINVAL, "filter %s: option %s is given twice", filter, option->name);
	if (!equals || !parse_number(equals + 1, length - name_length - 1, &option->value))
		return status_fail(UFM_EINVAL, "filter %s: \"%.*s\", expected %s=NUMBER", filter,
		                   (int)length, text, option->name);
	option->given = true;
	return UFM_OK;
}

ufm_status store_parse_options(const char *filter, const char *text, store_option *options,
                               uint32_t count)
{
	while (*text) {
		size_t length = strcspn(text, ",");
		ufm_status status = parse_one(filter, text, length, options, count);

		if (status)
			return status;
		text += length;
		if (*text == ',')
			text++;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!options[i].given)
			return status_fail(UFM_EINVAL, "filter %s: option %s is missing", filter,
			                   options[i].name);
	}
	return UFM_OK;
}
