/* SPDX-License-Identifier: MIT */
/* Host memory for the device: mapped, and page-locked in pieces. */
#include "pager/pinned.h"

#include "base/alloc.h"
#include "base/size.h"
#include "base/status.h"

/* A registration larger than this fails on some drivers. */
#define PIECE_BYTES_MAX (1ull << 30)

#define ADVICE "free memory, or use fewer or smaller experts or shorter calls"
#define WSL_ADVICE \
	"; WSL2 lets only a part of the memory be page-locked (raise `memory` in .wslconfig)"

ufm_status pinned_check(const limits *now, const char *what, uint64_t size_bytes, bool pageable)
{
	uint64_t available_bytes = now->ram_free_bytes, most_bytes = limits_lockable_bytes(now);
	char need[32], have[32], most[32];
	size_format(size_bytes, need, sizeof need);
	size_format(available_bytes, have, sizeof have);
	size_format(most_bytes, most, sizeof most);
	if (size_bytes <= (pageable ? available_bytes : most_bytes))
		return UFM_OK;
	if (pageable)
		return status_fail(UFM_ENOMEM, "%s: %s of host memory asked, %s available: " ADVICE, what,
		                   need, have);
	return status_fail(UFM_ENOMEM,
	                   "%s: %s of page-locked host memory asked, %s available, of which 80 %% (%s) "
	                   "may be page-locked: " ADVICE "%s",
	                   what, need, have, most, now->wsl ? WSL_ADVICE : "");
}

/* A copy may not cross two registrations, so pieces end where a block ends. */
static uint64_t piece_bytes(uint64_t block_bytes)
{
	return block_bytes <= PIECE_BYTES_MAX ? PIECE_BYTES_MAX / block_bytes * block_bytes
	                                      : PIECE_BYTES_MAX;
}

ufm_status pinned_map(uint64_t size_bytes, uint64_t block_bytes, pinned *out)
{
	uint8_t *memory = alloc_pages(size_bytes);
	if (!memory)
		return UFM_ENOMEM;
	*out = (pinned){
		.memory = memory, .size_bytes = size_bytes, .piece_bytes = piece_bytes(block_bytes)};
	return UFM_OK;
}

static uint64_t piece_at(const pinned *p, uint64_t at)
{
	uint64_t left = p->size_bytes - at;
	return left < p->piece_bytes ? left : p->piece_bytes;
}

static void unregister_all(const ufm_backend *b, pinned *p)
{
	for (uint64_t at = 0; at < p->registered_bytes; at += p->piece_bytes)
		b->host_unregister(p->memory + at, piece_at(p, at));
	p->registered_bytes = 0;
}

static ufm_status register_piece(const ufm_backend *b, pinned *p)
{
	uint64_t at = p->registered_bytes, size_bytes = piece_at(p, at);
	ufm_status status = b->host_register(p->memory + at, size_bytes);
	if (status != UFM_OK) {
		unregister_all(b, p);
		return status_prefix(status, "page-locking %llu bytes at %llu of %llu",
		                     (unsigned long long)size_bytes, (unsigned long long)at,
		                     (unsigned long long)p->size_bytes);
	}
	p->registered_bytes += size_bytes;
	return UFM_OK;
}

ufm_status pinned_register_first(const ufm_backend *b, pinned *p, uint64_t size_bytes)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && p->registered_bytes < p->size_bytes &&
	       p->registered_bytes + piece_at(p, p->registered_bytes) <= size_bytes)
		status = register_piece(b, p);
	return status;
}

ufm_status pinned_register(const ufm_backend *b, pinned *p)
{
	return pinned_register_first(b, p, p->size_bytes);
}

ufm_status pinned_open(const ufm_backend *b, const char *what, uint64_t size_bytes, pinned *out)
{
	limits now;
	limits_read(&now);
	ufm_status status = pinned_check(&now, what, size_bytes, false);
	if (status != UFM_OK)
		return status;
	pinned p;
	status = pinned_map(size_bytes, 1, &p);
	if (status != UFM_OK)
		return status;
	status = pinned_register(b, &p);
	if (status == UFM_OK)
		*out = p;
	else
		pinned_close(b, &p);
	return status;
}

void pinned_close(const ufm_backend *b, pinned *p)
{
	if (!p->memory)
		return;
	unregister_all(b, p);
	alloc_pages_free(p->memory, p->size_bytes);
	*p = (pinned){0};
}
