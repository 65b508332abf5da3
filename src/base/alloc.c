/* SPDX-License-Identifier: MIT */
/* Host memory from calloc and mmap, each request asked of the hook first. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/status.h"

#define GROW_FIRST 64u
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static alloc_hook hook_fn;
static void *hook_ctx;

void alloc_set_hook(alloc_hook hook, void *ctx)
{
	hook_fn = hook;
	hook_ctx = ctx;
}

static bool hook_allows(size_t size_bytes)
{
	return !hook_fn || hook_fn(hook_ctx, size_bytes);
}

static void *fail_exhausted(size_t size_bytes)
{
	status_fail(UFM_ENOMEM, "host memory: %zu bytes asked, not available", size_bytes);
	return NULL;
}

void *alloc_zeroed(size_t count, size_t size_bytes)
{
	size_t total_bytes;

	if (__builtin_mul_overflow(count, size_bytes, &total_bytes)) {
		status_fail(UFM_ENOMEM, "host memory: %zu elements of %zu bytes asked, more than can exist",
		            count, size_bytes);
		return NULL;
	}
	void *memory = hook_allows(total_bytes) ? calloc(1, total_bytes ? total_bytes : 1) : NULL;
	return memory ? memory : fail_exhausted(total_bytes);
}

char *alloc_string(const char *text)
{
	size_t size_bytes = strlen(text) + 1;
	char *copy = alloc_zeroed(size_bytes, 1);

	if (copy)
		memcpy(copy, text, size_bytes);
	return copy;
}

void alloc_free(void *memory)
{
	free(memory);
}

void *alloc_grow(void *array, uint32_t count, uint32_t *room, size_t element_bytes)
{
	uint32_t wanted = count > UINT32_MAX / 2 ? UINT32_MAX : count ? 2 * count : GROW_FIRST;
	void *moved;

	if (count < *room)
		return array;
	moved = alloc_zeroed(wanted, element_bytes);
	if (!moved)
		return NULL;
	if (count)
		memcpy(moved, array, count * element_bytes);
	alloc_free(array);
	*room = wanted;
	return moved;
}

/* 0 on overflow; an empty request takes one page, so that it has an address. */
static size_t round_to_pages(size_t size_bytes)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

	if (size_bytes > SIZE_MAX - 2 * HUGE_PAGE_BYTES)
		return 0;
	return size_bytes ? (size_bytes + page_bytes - 1) / page_bytes * page_bytes : page_bytes;
}

static void *map_anonymous(size_t size_bytes)
{
	void *memory =
		mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Huge pages need an aligned start, which mmap does not promise: map more, return the ends. */
static void *map_huge_aligned(size_t size_bytes)
{
	char *wide = map_anonymous(size_bytes + HUGE_PAGE_BYTES);

	if (!wide)
		return NULL;
	size_t lead_bytes = (HUGE_PAGE_BYTES - (uintptr_t)wide % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
	char *memory = wide + lead_bytes;
	if (lead_bytes)
		munmap(wide, lead_bytes);
	if (lead_bytes < HUGE_PAGE_BYTES)
		munmap(memory + size_bytes, HUGE_PAGE_BYTES - lead_bytes);
	/* Advice: a kernel without huge pages refuses it, and the memory is as good. */
	madvise(memory, size_bytes, MADV_HUGEPAGE);
	return memory;
}

void *alloc_pages(size_t size_bytes)
{
	size_t mapped_bytes = round_to_pages(size_bytes);
	void *memory = NULL;

	if (!mapped_bytes || !hook_allows(size_bytes))
		return fail_exhausted(size_bytes);
	if (mapped_bytes >= HUGE_PAGE_BYTES)
		memory = map_huge_aligned(mapped_bytes);
	else
		memory = map_anonymous(mapped_bytes);
	return memory ? memory : fail_exhausted(size_bytes);
}

void alloc_pages_keep_from_fork(void *memory, size_t size_bytes, bool keep)
{
	madvise(memory, round_to_pages(size_bytes), keep ? MADV_DONTFORK : MADV_DOFORK);
}

void alloc_pages_free(void *memory, size_t size_bytes)
{
	if (memory)
		munmap(memory, round_to_pages(size_bytes));
}
