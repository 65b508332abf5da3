/* SPDX-License-Identifier: MIT */
/* Slots: where they are, what empty ones hold, how many are in use, and the mark of the last use. */
#include "pager/pager_int.h"

ufm_devptr slot_address(const ufm_engine *e, uint32_t slot)
{
	return e->slab + (uint64_t)slot * e->desc.block_bytes;
}

ufm_status slots_poison(ufm_engine *e, uint32_t first, uint32_t n)
{
	if (!e->config.poison_free_slots || n == 0)
		return UFM_OK;
	return e->b->fill(e->copy, slot_address(e, first), 0xff, n * e->desc.block_bytes);
}

void slots_publish(ufm_engine *e)
{
	cache_stats stats;
	cache_get_stats(e->cache, &stats);
	atomic_store_explicit(&e->slots_used, stats.loading + stats.ready, memory_order_relaxed);
	atomic_store_explicit(&e->slots_high_water, stats.used_high_water, memory_order_relaxed);
}

/* A slot keeps one mark. If another stream's use is still pending, this stream comes after it. */
static ufm_status join_other_streams(ufm_engine *e, ufm_stream *stream, const uint32_t *slots,
                                     uint32_t n)
{
	ufm_status status = UFM_OK;
	uint64_t joined = 0;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		const slot_use *use = &e->uses[slots[i]];
		if (use->mark && use->mark != joined && use->stream != stream &&
		    mark_pending(e, use->mark)) {
			status = mark_order(e, stream, use->mark);
			joined = use->mark;
		}
	}
	return status;
}

ufm_status slots_used_by(ufm_engine *e, ufm_stream *stream, const uint32_t *slots, uint32_t n)
{
	uint64_t mark = 0;
	ufm_status status = n ? join_other_streams(e, stream, slots, n) : UFM_OK;
	if (status == UFM_OK && n)
		status = mark_record(e, stream, &mark);
	for (uint32_t i = 0; i < n; i++) {
		slot_use *use = &e->uses[slots[i]];
		if (status == UFM_OK) {
			use->mark = mark;
			use->stream = stream;
		}
		cache_unpin(e->cache, slots[i]);
	}
	return status;
}
