/* SPDX-License-Identifier: MIT */
/* Host memory for the device: mapped, and page-locked in pieces. */
#ifndef UFM_PAGER_PINNED_H
#define UFM_PAGER_PINNED_H

#include <stdbool.h>
#include <ufm/backend.h>

#include "base/limits.h"

typedef struct pinned {
	uint8_t *memory; /* page-aligned, zeroed */
	uint64_t size_bytes;
	uint64_t piece_bytes;      /* of one registration; the last may be smaller */
	uint64_t registered_bytes; /* from the start */
} pinned;

/* Whether so much memory may be taken: all that is available, or 80 % of it if it is to be
 * page-locked. UFM_ENOMEM says what was asked, what is available and what to do; `what` is the line's
 * subject ("the bank"). */
ufm_status pinned_check(const limits *now, const char *what, uint64_t size_bytes, bool pageable);

/* Ordinary memory for blocks of block_bytes each. Nothing is touched: whoever writes a page first
 * brings it in, so that many threads can. UFM_ENOMEM. */
ufm_status pinned_map(uint64_t size_bytes, uint64_t block_bytes, pinned *out);

/* Page-locks all of it, piece by piece. No piece is larger than 1 GiB, and none ends inside a block
 * that is not itself larger. On failure nothing is registered; the memory stays. */
ufm_status pinned_register(const ufm_backend *b, pinned *p);

/* The same for the pieces that end within the first size_bytes bytes, those after what is registered
 * already: so that one part can be page-locked while another is still filled. One call at a time. */
ufm_status pinned_register_first(const ufm_backend *b, pinned *p, uint64_t size_bytes);

/* The three for a small buffer that nobody fills first. */
ufm_status pinned_open(const ufm_backend *b, const char *what, uint64_t size_bytes, pinned *out);

/* Unregisters what is registered and frees; a zeroed one is allowed. */
void pinned_close(const ufm_backend *b, pinned *p);

#endif
