/* SPDX-License-Identifier: MIT */
/* The calling thread's last failure, and how it is recorded. */
#ifndef UFM_BASE_STATUS_H
#define UFM_BASE_STATUS_H

#include <assert.h>
#include <stdbool.h>
#include <ufm/ufm.h>

/* Records one line (what was wrong, what was expected) and gives `status`, so that the first function
 * to know can write `return status_fail(UFM_EINVAL, "...", ...);`. Callers pass the status on without
 * recording again. Control characters become '?'; the line is cut at 511 bytes. A macro, so that
 * compilers see that the result is never UFM_OK. */
#define status_fail(status, ...) (status_record(__VA_ARGS__), status_failed(status))

/* Puts context and ": " before the recorded line ("bank.ufm" gives "bank.ufm: line") and gives
 * `status`. */
#define status_prefix(status, ...) (status_record_prefix(__VA_ARGS__), status_failed(status))

void status_record(const char *format, ...) __attribute__((format(printf, 1, 2)));
void status_record_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline ufm_status status_failed(ufm_status status)
{
	assert(status != UFM_OK);
	return status;
}

/* Whether it is one of ufm_status, UFM_OK included: callers' functions may return anything. */
bool status_is_known(ufm_status status);

/* UFM_EINVAL names the argument when it is NULL: "engine: NULL, expected an engine". */
ufm_status status_need(const void *given, const char *name, const char *wanted);

/* Copies a config whose first member is its struct_size over defaults of full_size bytes:
 * fields that an older caller does not know keep what is in `out`, whose struct_size becomes
 * full_size. A NULL config copies nothing.
 * UFM_EINVAL names the struct when its size is none, or when a newer caller set what we do not know. */
ufm_status status_read_config(void *out, size_t full_size, const void *config, const char *name);

/* No public struct is ever as large as that: what is larger was never set. */
#define STATUS_STRUCT_BYTES_MAX 16384u

/* UFM_EINVAL unless `info`, which is to be written, begins with a size. To be asked before there is
 * anything to undo. */
ufm_status status_check_info(const void *info, const char *name);
/* Copies what the library has found, full_size bytes, into the caller's struct, whose first member says
 * how large it is: no more than fits, and it keeps its size. UFM_EINVAL as status_check_info. */
ufm_status status_write_info(void *info, const void *found, size_t full_size, const char *name);

#endif
