/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/trace_files.h"

static char folder[] = "/tmp/ufm-trace-XXXXXX";

int trace_files_open(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

int trace_files_close(void **state)
{
	(void)state;
	return rmdir(folder);
}

const char *trace_files_folder(void)
{
	return folder;
}

const char *trace_files_path(int slot, const char *name)
{
	static char paths[2][128];
	snprintf(paths[slot], sizeof paths[slot], "%s/%s", folder, name);
	return paths[slot];
}

void trace_files_write(const char *path, const void *content, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

ufm_status trace_files_read(const char *jsonl, const char *csv, trace *t)
{
	trace_source source = {.path = trace_files_path(0, "t.jsonl")};
	trace_files_write(source.path, jsonl, strlen(jsonl));
	if (csv) {
		source.sequences_path = trace_files_path(1, "s.csv");
		trace_files_write(source.sequences_path, csv, strlen(csv));
	}
	ufm_status status = trace_read(&source, t);
	unlink(source.path);
	if (csv)
		unlink(source.sequences_path);
	return status;
}

void trace_files_read_good(const char *jsonl, const char *csv, trace *t)
{
	if (trace_files_read(jsonl, csv, t) != UFM_OK)
		fail_msg("%s", ufm_last_error());
}

typedef struct shortage {
	uint64_t asked, fail_at;
} shortage;

static bool allow(void *ctx, size_t size_bytes)
{
	shortage *s = ctx;
	(void)size_bytes;
	return s->asked++ != s->fail_at;
}

void trace_files_fail_allocations(const trace_source *source)
{
	shortage s = {.fail_at = UINT64_MAX};
	trace t;
	alloc_set_hook(allow, &s);
	assert_int_equal(trace_read(source, &t), UFM_OK);
	trace_close(&t);
	uint64_t total = s.asked;
	assert_true(total > 2);
	for (uint64_t at = 0; at < total; at++) {
		s = (shortage){.fail_at = at};
		assert_int_equal(trace_read(source, &t), UFM_ENOMEM);
		assert_null(t.ids);
		assert_non_null(strstr(ufm_last_error(), "host memory"));
	}
	alloc_set_hook(NULL, NULL);
}
