/* SPDX-License-Identifier: MIT */
/* A file in memory for what reads through a function: counts calls and bytes, and can fail. After cmocka.h. */
#ifndef UFM_TESTS_MEMORY_SOURCE_H
#define UFM_TESTS_MEMORY_SOURCE_H

#include <string.h>

#include "base/status.h"

typedef struct memory_source {
	const void *bytes;
	uint64_t size_bytes, calls, read_bytes;
	uint64_t fail_at; /* the call that fails, from 1; 0: none */
} memory_source;

/* Nobody may ask for what lies outside. UFM_EEXPERT_IO, "call N", at fail_at. */
static inline ufm_status read_memory(void *ctx, uint64_t from_bytes, uint64_t size_bytes, void *out)
{
	memory_source *m = ctx;

	if (++m->calls == m->fail_at)
		return status_fail(UFM_EEXPERT_IO, "call %llu", (unsigned long long)m->calls);
	if (from_bytes > m->size_bytes || size_bytes > m->size_bytes - from_bytes)
		fail_msg("%llu bytes at %llu, there are %llu", (unsigned long long)size_bytes,
		         (unsigned long long)from_bytes, (unsigned long long)m->size_bytes);
	memcpy(out, (const uint8_t *)m->bytes + from_bytes, size_bytes);
	m->read_bytes += size_bytes;
	return UFM_OK;
}

#endif
