/* SPDX-License-Identifier: MIT */
/* Another allocator's memory: what the limit lacks the engines give back, and then the driver is asked. */
#include <inttypes.h>

#include "base/status.h"
#include "pager/lender.h"

static ufm_status refuse(uint64_t size_bytes, int refused, uint64_t given_bytes)
{
	return status_fail(UFM_EDEVMEM,
	                   "device memory: the driver refused %" PRIu64
	                   " bytes (%d), also after engines gave back %" PRIu64,
	                   size_bytes, refused, given_bytes);
}

/* The limit allows it. Where the driver has not got it all the same (others took it, or it lies in pieces) the engines give
 * what they can of it, once, unless that is too little. */
static ufm_status take(ufm_lender *l, uint64_t size_bytes, const lender_view *v, ufm_devptr *out)
{
	int refused = l->c.alloc(out, size_bytes);
	if (refused == 0)
		return UFM_OK;
	ufm_engine_bounds sum;
	uint64_t before_bytes = l->figures.room_bytes;
	ufm_status status = lender_sum_bounds(l, &sum);
	if (status != UFM_OK)
		return status;
	if (v->room_bytes < size_bytes && size_bytes - v->room_bytes > sum.now_bytes - sum.least_bytes)
		return refuse(size_bytes, refused, 0);
	status = lender_give(l, size_bytes);
	uint64_t given_bytes = l->figures.room_bytes - before_bytes;
	l->figures.rooms += given_bytes != 0;
	if (status != UFM_OK)
		return status;
	refused = l->c.alloc(out, size_bytes);
	return refused ? refuse(size_bytes, refused, given_bytes) : UFM_OK;
}

/* A driver may have taken more than was asked of it. */
static ufm_status allocate(ufm_lender *l, uint64_t size_bytes, ufm_devptr *out)
{
	lender_view v;
	ufm_devptr memory = 0;
	ufm_status status = lender_fit(l, size_bytes, &v);
	if (status == UFM_OK)
		status = take(l, size_bytes, &v, &memory);
	if (status != UFM_OK)
		return status;
	status = lent_add(&l->owner, memory, size_bytes);
	if (status != UFM_OK) {
		(void)l->c.release(memory);
		return status;
	}
	status = lender_fit(l, 0, &v);
	if (status != UFM_OK) {
		(void)lent_release(&l->owner, memory);
		return status_prefix(status, "%" PRIu64 " bytes, as the driver counts them", size_bytes);
	}
	*out = memory;
	return UFM_OK;
}

ufm_status ufm_lender_alloc(ufm_lender *l, uint64_t size_bytes, ufm_devptr *out)
{
	ufm_status status = lender_check_process(l);
	if (status == UFM_OK)
		status = status_need(out, "out", "where to put the address");
	if (status == UFM_OK && size_bytes == 0)
		status = status_fail(UFM_EINVAL, "size_bytes: 0, expected at least 1");
	if (status != UFM_OK)
		return status;
	lock_take(&l->lock);
	status = allocate(l, size_bytes, out);
	l->figures.refused += status != UFM_OK;
	lock_drop(&l->lock);
	return status;
}

ufm_status ufm_lender_free(ufm_lender *l, ufm_devptr memory)
{
	ufm_status status = lender_check_process(l);
	return status == UFM_OK ? lent_release(&l->owner, memory) : status;
}

void *ufm_lent_alloc(ptrdiff_t size_bytes, int device_index, void *stream)
{
	(void)stream;
	ufm_devptr memory = 0;
	lent_owner *owner = lent_enter(device_index);
	if (!owner) {
		status_record("device %d: no open lender, expected one", device_index);
		return NULL;
	}
	if (ufm_lender_alloc((ufm_lender *)owner, size_bytes > 0 ? (uint64_t)size_bytes : 0, &memory))
		memory = 0;
	lent_leave(owner);
	return (void *)(uintptr_t)memory;
}

void ufm_lent_free(void *memory, ptrdiff_t size_bytes, int device_index, void *stream)
{
	(void)size_bytes;
	(void)device_index;
	(void)stream;
	if (memory)
		(void)lent_release(NULL, (ufm_devptr)(uintptr_t)memory);
}
