/* SPDX-License-Identifier: MIT */
/* The slab: where slots lie, what empty ones hold, how many are in use, and when each was used
 * last. */
#ifndef UFM_PAGER_SLAB_H
#define UFM_PAGER_SLAB_H

#include <stdatomic.h>

#include "cache/cache.h"
#include "pager/marks.h"

typedef struct slot_use {
	uint64_t mark; /* last use; 0: none pending */
	ufm_stream *stream;
	uint64_t load; /* number of the copy that may not have arrived; 0: it has */
	bool owed;     /* the tenant's copy was not started yet (owed.h) */
} slot_use;

typedef struct slab {
	/* the same from open to close: */
	const ufm_backend *b;
	ufm_stream *copy;
	cache *cache;
	marks *marks;
	ufm_devptr base; /* of slot 0 */
	uint64_t block_bytes;
	bool poison; /* empty slots hold NaN until they are filled */
	/* guarded by the engine's lock: */
	slot_use *uses; /* [slots_max] */
	/* written under the engine's lock, read without: */
	_Atomic uint32_t used, high_water;
} slab;

/* The part that stays the same is set. slots_max: that there may ever be. UFM_ENOMEM. */
ufm_status slab_open(slab *s, uint32_t slots_max);
void slab_close(slab *s);
ufm_devptr slot_address(const slab *s, uint32_t slot);
/* The work on `stream` so far is the last use of these slots: unpins them. */
ufm_status slots_used_by(slab *s, ufm_stream *stream, const uint32_t *slots, uint32_t n);
/* Fills empty slots with NaN where `poison` asks for it. */
ufm_status slots_poison(const slab *s, uint32_t first, uint32_t n);
/* Publishes the number of slots in use. */
void slots_publish(slab *s);

#endif
