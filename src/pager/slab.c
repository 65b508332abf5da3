/* SPDX-License-Identifier: MIT */
/* Slots and their last use. */
#include "pager/slab.h"

#include "base/alloc.h"

ufm_status slab_open(slab *s, uint32_t slots_max)
{
	s->uses = alloc_zeroed(slots_max, sizeof *s->uses);
	return s->uses ? UFM_OK : UFM_ENOMEM;
}

void slab_close(slab *s)
{
	alloc_free(s->uses);
}

ufm_devptr slot_address(const slab *s, uint32_t slot)
{
	return s->base + (uint64_t)slot * s->block_bytes;
}

ufm_status slots_poison(const slab *s, uint32_t first, uint32_t n)
{
	if (!s->poison || n == 0)
		return UFM_OK;
	return s->b->fill(s->copy, slot_address(s, first), 0xff, n * s->block_bytes);
}

void slots_publish(slab *s)
{
	cache_stats stats;
	cache_get_stats(s->cache, &stats);
	atomic_store_explicit(&s->used, stats.loading + stats.ready, memory_order_relaxed);
	atomic_store_explicit(&s->high_water, stats.used_high_water, memory_order_relaxed);
}

/* A slot keeps one mark. If another stream's use is still pending, this stream comes after it. */
static ufm_status join_other_streams(const slab *s, ufm_stream *stream, const uint32_t *slots,
                                     uint32_t n)
{
	ufm_status status = UFM_OK;
	uint64_t joined = 0;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		const slot_use *use = &s->uses[slots[i]];
		if (use->mark && use->mark != joined && use->stream != stream &&
		    mark_pending(s->marks, use->mark)) {
			status = mark_order(s->marks, stream, use->mark);
			joined = use->mark;
		}
	}
	return status;
}

ufm_status slots_used_by(slab *s, ufm_stream *stream, const uint32_t *slots, uint32_t n)
{
	uint64_t mark = 0;
	ufm_status status = n ? join_other_streams(s, stream, slots, n) : UFM_OK;
	if (status == UFM_OK && n)
		status = mark_record(s->marks, stream, &mark);
	for (uint32_t i = 0; i < n; i++) {
		slot_use *use = &s->uses[slots[i]];
		if (status == UFM_OK) {
			use->mark = mark;
			use->stream = stream;
		}
		cache_unpin(s->cache, slots[i]);
	}
	return status;
}
