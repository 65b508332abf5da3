/* SPDX-License-Identifier: MIT */
/* Experts' bytes out of the caches. */
#include "assist/assist_int.h"
#include "base/cpu.h"

void assist_forgets_open(assist *a)
{
	assist_forgets *f = &a->forgets;
	uint64_t bytes = a->desc->expert_bytes;
	f->possible = cpu_has_flush();
	f->chunks = (uint32_t)((bytes + ASSIST_FORGET_CHUNK - 1) / ASSIST_FORGET_CHUNK);
}

uint64_t assist_forget(assist *a, const void *block)
{
	assist_forgets *f = &a->forgets;
	uint64_t asked = atomic_load_explicit(&f->asked, memory_order_relaxed);
	uint64_t done = atomic_load_explicit(&f->done, memory_order_acquire);
	if (!f->possible || asked - done / f->chunks >= ASSIST_FORGETS)
		return 0;
	atomic_store_explicit(&f->blocks[asked % ASSIST_FORGETS], block, memory_order_relaxed);
	atomic_store_explicit(&f->asked, asked + 1, memory_order_release);
	assist_signal(a);
	return asked + 1;
}

/* Chunks are taken in order, but may end in another: the last of a block can be late by one or two. */
bool assist_forgotten(const assist *a, uint64_t number)
{
	const assist_forgets *f = &a->forgets;
	return atomic_load_explicit(&f->done, memory_order_acquire) >= number * f->chunks;
}

static void drop_chunk(const assist *a, const void *block, uint64_t chunk)
{
	uint64_t from = chunk * ASSIST_FORGET_CHUNK, left = a->desc->expert_bytes - from;
	cpu_flush((const char *)block + from, left < ASSIST_FORGET_CHUNK ? left : ASSIST_FORGET_CHUNK);
}

bool assist_forget_some(assist *a)
{
	assist_forgets *f = &a->forgets;
	uint64_t taken = atomic_load_explicit(&f->taken, memory_order_relaxed), request;
	do {
		request = taken / f->chunks;
		if (request >= atomic_load_explicit(&f->asked, memory_order_acquire))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&f->taken, &taken, taken + 1,
	                                                memory_order_relaxed, memory_order_relaxed));
	const void *block =
		atomic_load_explicit(&f->blocks[request % ASSIST_FORGETS], memory_order_relaxed);
	drop_chunk(a, block, taken % f->chunks);
	atomic_fetch_add_explicit(&f->done, 1, memory_order_release);
	return true;
}
