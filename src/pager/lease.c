/* SPDX-License-Identifier: MIT */
/* The pager level of ufm.h: leases and hints. */
#include "base/clock.h"
#include "base/status.h"
#include "pager/pager_int.h"

static ufm_status check_acquire(const ufm_engine *e, uint32_t layer, const uint32_t *experts,
                                ufm_lease **out)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK)
		status = status_need(experts, "experts", "their ids");
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the lease");
	return status == UFM_OK ? leases_check_layer(&e->leases, layer) : status;
}

ufm_status ufm_acquire_begin(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n,
                             ufm_lease **out)
{
	ufm_status status = check_acquire(e, layer, experts, out);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	status = leases_acquire(&e->leases, layer, experts, n, out);
	lock_drop(&e->lock);
	return status;
}

/* What a layer call holds is let go without a word, so nobody sleeps long. */
#define LOOK_AGAIN_NS 1000000u

static uint64_t until_of(uint64_t wait_ns)
{
	uint64_t now_ns = clock_now_ns();
	return wait_ns < UINT64_MAX - now_ns ? now_ns + wait_ns : UINT64_MAX;
}

/* The lock is held. */
static ufm_status acquire_until(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n,
                                uint64_t until_ns, ufm_lease **out)
{
	for (;;) {
		ufm_status status = leases_acquire(&e->leases, layer, experts, n, out);
		uint64_t now_ns = clock_now_ns();
		if (status != UFM_EBUSY)
			return status;
		if (now_ns >= until_ns)
			return status_prefix(UFM_ETIMEDOUT, "acquire of %u experts", n);
		uint64_t next_ns = now_ns + LOOK_AGAIN_NS;
		(void)lock_wait_until(&e->leases.released, &e->lock,
		                      next_ns < until_ns ? next_ns : until_ns);
	}
}

ufm_status ufm_acquire_wait(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n,
                            uint64_t wait_ns, ufm_lease **out)
{
	uint64_t until_ns = until_of(wait_ns);
	ufm_status status = check_acquire(e, layer, experts, out);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	status = acquire_until(e, layer, experts, n, until_ns, out);
	lock_drop(&e->lock);
	return status;
}

/* Every block is in host memory, so a stream can wait for every hop and the host never does. */
ufm_status ufm_acquire_ready(ufm_lease *lease, ufm_stream *stream, uint64_t wait_ns)
{
	(void)wait_ns;
	ufm_status status = status_need(lease, "lease", "one of ufm_acquire_begin");
	if (status == UFM_OK)
		status = status_need(stream, "stream", "one of ufm_stream_open");
	if (status != UFM_OK)
		return status;
	ufm_engine *e = lease->engine;
	status = engine_check_process(e);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	status = leases_order(&e->leases, lease, stream);
	lock_drop(&e->lock);
	return status;
}

ufm_devptr ufm_lease_view(const ufm_lease *lease, uint32_t index)
{
	if (!lease || host_is_parents(lease->engine->host))
		return 0;
	return index < lease->n ? slot_address(&lease->engine->slab, lease->slots[index]) : 0;
}

ufm_status ufm_release(ufm_lease *lease, ufm_stream *stream)
{
	ufm_status status = status_need(lease, "lease", "one of ufm_acquire_begin");
	if (status != UFM_OK)
		return status;
	ufm_engine *e = lease->engine;
	status = engine_check_process(e);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	status = leases_release(&e->leases, lease, stream);
	lock_drop(&e->lock);
	return status;
}

ufm_status ufm_prefetch(ufm_engine *e, uint32_t layer, const uint32_t *experts, uint32_t n)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK && n)
		status = status_need(experts, "experts", "their ids");
	if (status == UFM_OK)
		status = leases_check_layer(&e->leases, layer);
	if (status != UFM_OK)
		return status;
	lock_take(&e->lock);
	for (uint32_t i = 0; i < n && status == UFM_OK; i++)
		status = leases_hint(&e->leases, layer, experts[i]);
	lock_drop(&e->lock);
	return status;
}
