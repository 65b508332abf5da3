/* SPDX-License-Identifier: MIT */
/* The status vocabulary, the thread's last error, and the small conventions of the public API. */
#include "base/status.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STATUS_LINE_BYTES 512

static _Thread_local char last_error[STATUS_LINE_BYTES];

static const struct {
	ufm_status status;
	const char *phrase;
} phrases[] = {
	{UFM_OK, "success"},
	{UFM_EINVAL, "invalid argument"},
	{UFM_EBUSY, "leases hold what this call needs"},
	{UFM_ETIMEDOUT, "timed out"},
	{UFM_ENOMEM, "host memory exhausted"},
	{UFM_EBUDGET, "the smallest working set does not fit the device budget"},
	{UFM_EUNSUPPORTED, "not supported here"},
	{UFM_EFILE, "file cannot be opened, read or written"},
	{UFM_ECANCELED, "stopped by the caller"},
	{UFM_EEXPERT_IO, "an expert's bytes could not be read"},
	{UFM_EFORMAT, "malformed file"},
	{UFM_EDEVMEM, "device memory exhausted"},
	{UFM_EDEVICE, "device lost"},
	{UFM_EBACKEND, "backend not available"},
};

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *ufm_version(void)
{
	return TEXT(UFM_VERSION_MAJOR) "." TEXT(UFM_VERSION_MINOR) "." TEXT(UFM_VERSION_PATCH);
}

void ufm_struct_init(void *config, size_t struct_size)
{
	if (!config)
		return;
	assert(struct_size >= sizeof struct_size);
	memset(config, 0, struct_size);
	memcpy(config, &struct_size, sizeof struct_size);
}

/* NULL for what is no status. */
static const char *find_phrase(ufm_status status)
{
	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return NULL;
}

const char *ufm_strerror(ufm_status status)
{
	const char *phrase = find_phrase(status);

	return phrase ? phrase : "unknown status";
}

bool status_is_known(ufm_status status)
{
	return find_phrase(status) != NULL;
}

const char *ufm_last_error(void)
{
	return last_error;
}

size_t ufm_dtype_bytes(ufm_dtype dtype)
{
	switch (dtype) {
	case UFM_F32:
		return 4;
	case UFM_BF16:
	case UFM_F16:
		return 2;
	}
	return 0;
}

/* The line may quote a file or an option: what would break it in two is masked. */
static void mask_controls(char *line)
{
	for (; *line; line++) {
		if ((unsigned char)*line < 0x20 || *line == 0x7f)
			*line = '?';
	}
}

void status_record(const char *format, ...)
{
	/* Formatted aside, because an argument may be the last error itself. */
	char line[STATUS_LINE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	mask_controls(line);
	memcpy(last_error, line, sizeof line);
}

/* Cut at the line's end: the context comes first and is what must stay. */
static void append(char line[STATUS_LINE_BYTES], const char *text)
{
	size_t used = strlen(line);
	size_t added = strnlen(text, STATUS_LINE_BYTES - 1 - used);

	memcpy(line + used, text, added);
	line[used + added] = '\0';
}

void status_record_prefix(const char *format, ...)
{
	char line[STATUS_LINE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	mask_controls(line);
	append(line, ": ");
	append(line, last_error);
	memcpy(last_error, line, sizeof line);
}

ufm_status status_need(const void *given, const char *name, const char *wanted)
{
	return given ? UFM_OK : status_fail(UFM_EINVAL, "%s: NULL, expected %s", name, wanted);
}

static ufm_status read_size(const void *sized, const char *name, size_t *out)
{
	size_t size;

	memcpy(&size, sized, sizeof size);
	if (size < sizeof size || size > STATUS_STRUCT_BYTES_MAX)
		return status_fail(UFM_EINVAL,
		                   "%s: struct_size is %zu, expected its sizeof (UFM_STRUCT_INIT)", name,
		                   size);
	*out = size;
	return UFM_OK;
}

/* What a newer caller can say and we cannot hear. */
static ufm_status check_tail(const void *config, size_t begin, size_t end, const char *name)
{
	const unsigned char *bytes = config;

	for (size_t i = begin; i < end; i++) {
		if (bytes[i])
			return status_fail(UFM_EINVAL,
			                   "%s: byte %zu is set, expected 0: this library (%s) knows %zu bytes",
			                   name, i, ufm_version(), begin);
	}
	return UFM_OK;
}

ufm_status status_read_config(void *out, size_t full_size, const void *config, const char *name)
{
	size_t given_size;
	ufm_status status;

	if (!config)
		return UFM_OK;
	status = read_size(config, name, &given_size);
	if (!status)
		status = check_tail(config, full_size, given_size, name);
	if (status)
		return status;
	memcpy(out, config, given_size < full_size ? given_size : full_size);
	memcpy(out, &full_size, sizeof full_size);
	return UFM_OK;
}

ufm_status status_check_info(const void *info, const char *name)
{
	size_t size;

	ufm_status status = status_need(info, name, "one to write to");

	return status ? status : read_size(info, name, &size);
}

ufm_status status_write_info(void *info, const void *found, size_t full_size, const char *name)
{
	ufm_status status = status_check_info(info, name);
	size_t size;

	if (status)
		return status;
	memcpy(&size, info, sizeof size);
	memcpy(info, found, size < full_size ? size : full_size);
	memcpy(info, &size, sizeof size);
	return UFM_OK;
}
