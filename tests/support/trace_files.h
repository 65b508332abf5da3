/* SPDX-License-Identifier: MIT */
/* Files of traces in a folder of the test's own. After cmocka.h. */
#ifndef UFM_TESTS_TRACE_FILES_H
#define UFM_TESTS_TRACE_FILES_H

#include <stddef.h>

#include "trace/trace.h"

/* Group set-up and tear-down: the folder, which the tests leave empty. */
int trace_files_open(void **state);
int trace_files_close(void **state);
const char *trace_files_folder(void);

/* A path in the folder; slot 0 or 1: the text lasts until the next call with it. */
const char *trace_files_path(int slot, const char *name);
void trace_files_write(const char *path, const void *content, size_t size);

/* Reads these as t.jsonl and, where it is not NULL, s.csv, and removes them. */
ufm_status trace_files_read(const char *jsonl, const char *csv, trace *t);

/* The same, which must succeed. */
void trace_files_read_good(const char *jsonl, const char *csv, trace *t);

/* Lines of a .jsonl. */
#define TRACE_LINE(layer, token) "{\"layer\":" #layer ",\"token\":" #token ",\"experts\":[1]}\n"
#define TRACE_LINE_OF(token, sequence) \
	"{\"layer\":0,\"token\":" #token ",\"experts\":[1],\"sequence\":" sequence "}\n"

/* Every allocation of trace_read fails in turn, each time with UFM_ENOMEM. */
void trace_files_fail_allocations(const trace_source *source);

#endif
