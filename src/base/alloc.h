/* SPDX-License-Identifier: MIT */
/* Host allocations, behind a hook that a test can make fail. */
#ifndef UFM_BASE_ALLOC_H
#define UFM_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory for count elements; NULL on overflow or exhaustion (with the status recorded as
 * UFM_ENOMEM and the bytes asked). count 0 gives a pointer that can be freed. */
void *alloc_zeroed(size_t count, size_t size_bytes);
char *alloc_string(const char *text);
void alloc_free(void *memory);

/* An array that grows by one: returns it with room for more than `count` elements, moved (the old one is
 * freed) and *room raised when it was full. NULL as above; the old array then stays as it is. Elements
 * from `count` on are zeroed when it moved. */
void *alloc_grow(void *array, uint32_t count, uint32_t *room, size_t element_bytes);

/* Large, page-aligned, zero-filled memory: anonymous mmap with huge pages advised (aligned to 2 MiB
 * from that size on). NULL as above. alloc_pages_free takes the size asked; NULL is allowed. */
void *alloc_pages(size_t size_bytes);
/* Such memory, all of it, is left out of a child process (or not any more): a disk that writes into
 * memory by itself must not find that a fork has moved the page. */
void alloc_pages_keep_from_fork(void *memory, size_t size_bytes, bool keep);
void alloc_pages_free(void *memory, size_t size_bytes);

/* Asked before every allocation; false makes it fail. NULL: none. For tests; not thread-safe. */
typedef bool (*alloc_hook)(void *ctx, size_t size_bytes);
void alloc_set_hook(alloc_hook hook, void *ctx);

#endif
