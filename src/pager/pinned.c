/* SPDX-License-Identifier: MIT */
/* Host memory that the device can reach. */
#include "base/alloc.h"
#include "base/status.h"
#include "pager/pager_int.h"

/* A registration larger than this fails on some drivers. */
#define PIECE_BYTES (1ull << 30)

static void unregister_first(const ufm_backend *b, uint8_t *memory, uint64_t size_bytes)
{
	for (uint64_t at = 0; at < size_bytes; at += PIECE_BYTES) {
		uint64_t left = size_bytes - at;
		b->host_unregister(memory + at, left < PIECE_BYTES ? left : PIECE_BYTES);
	}
}

ufm_status pinned_open(const ufm_backend *b, uint64_t size_bytes, bool pageable, pinned *out)
{
	uint8_t *memory = alloc_pages(size_bytes);
	if (!memory)
		return status_fail(UFM_ENOMEM, "host memory: %llu bytes asked, none to be had",
		                   (unsigned long long)size_bytes);
	for (uint64_t at = 0; !pageable && at < size_bytes; at += PIECE_BYTES) {
		uint64_t left = size_bytes - at;
		ufm_status status = b->host_register(memory + at, left < PIECE_BYTES ? left : PIECE_BYTES);
		if (status != UFM_OK) {
			unregister_first(b, memory, at);
			alloc_pages_free(memory, size_bytes);
			return status_prefix(status, "page-locking %llu bytes", (unsigned long long)size_bytes);
		}
	}
	*out = (pinned){.memory = memory, .size_bytes = size_bytes};
	return UFM_OK;
}

void pinned_close(const ufm_backend *b, pinned *p, bool pageable)
{
	if (!p->memory)
		return;
	if (!pageable)
		unregister_first(b, p->memory, p->size_bytes);
	alloc_pages_free(p->memory, p->size_bytes);
	*p = (pinned){0};
}
