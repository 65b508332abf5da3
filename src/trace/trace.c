/* SPDX-License-Identifier: MIT */
/* Reads a trace by its file's suffix, and gives it its sequences. */
#include "trace/trace.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "trace/trace_int.h"

/* Puts the path before what a reader recorded; a lack of memory has a line of its own. */
static ufm_status name_file(ufm_status status, const char *path)
{
	if (status == UFM_OK || status == UFM_ENOMEM)
		return status;
	return status_prefix(status, "%s", path);
}

static bool has_suffix(const char *path, const char *suffix)
{
	size_t length = strlen(path), n = strlen(suffix);
	return length > n && strcmp(path + length - n, suffix) == 0;
}

static ufm_status read_table(const trace_source *source, trace *out)
{
	uint64_t size_bytes;
	int fd;
	ufm_status status = name_file(file_open(source->path, &fd, &size_bytes), source->path);
	if (status)
		return status;
	if (has_suffix(source->path, ".npy"))
		status = trace_read_npy(source->path, source->experts, out);
	else if (has_suffix(source->path, ".jsonl"))
		status = name_file(trace_read_jsonl(fd, source->experts, out), source->path);
	else
		status = status_fail(UFM_EFORMAT,
		                     "%s: is no trace by its name, expected one that ends with .npy or "
		                     ".jsonl",
		                     source->path);
	close(fd);
	return status;
}

static ufm_status read_sequences(const char *path, trace *t)
{
	uint64_t size_bytes;
	int fd;
	ufm_status status;
	if (t->starts)
		return status_fail(
			UFM_EFORMAT, "%s: the trace names its sequences itself, expected no second list", path);
	status = name_file(file_open(path, &fd, &size_bytes), path);
	if (status)
		return status;
	status = name_file(trace_read_sequences(fd, t->tokens, &t->starts, &t->sequences), path);
	close(fd);
	return status;
}

static ufm_status one_sequence(trace *t)
{
	t->starts = alloc_zeroed(2, sizeof *t->starts);
	if (!t->starts)
		return UFM_ENOMEM;
	t->starts[1] = t->tokens;
	t->sequences = 1;
	return UFM_OK;
}

ufm_status trace_read(const trace_source *source, trace *out)
{
	trace t = {0};
	ufm_status status;
	memset(out, 0, sizeof *out);
	if (source->experts > TRACE_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "experts of a trace: found %u, expected at most %u",
		                   source->experts, TRACE_EXPERTS_MAX);
	status = read_table(source, &t);
	if (!status && source->sequences_path)
		status = read_sequences(source->sequences_path, &t);
	else if (!status && !t.starts)
		status = one_sequence(&t);
	if (status)
		trace_close(&t);
	else
		*out = t;
	return status;
}

void trace_close(trace *t)
{
	alloc_free(t->ids);
	alloc_free(t->starts);
	alloc_free(t->numbers);
	memset(t, 0, sizeof *t);
}
