/* SPDX-License-Identifier: MIT */
/* An engine's counters: written with relaxed atomics from any thread, read without a lock. */
#ifndef UFM_TELEMETRY_COUNTERS_H
#define UFM_TELEMETRY_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>
#include <ufm/ufm.h>

typedef enum counter_id {
#define COUNTER(name, unit, kind, help) COUNTER_##name,
#include "telemetry/counters.def"
#undef COUNTER
	COUNTER_COUNT
} counter_id;

typedef struct counters {
	_Atomic uint64_t values[COUNTER_COUNT];
} counters;

static inline void counter_add(counters *c, counter_id id, uint64_t amount)
{
	atomic_fetch_add_explicit(&c->values[id], amount, memory_order_relaxed);
}

static inline uint64_t counter_get(const counters *c, counter_id id)
{
	return atomic_load_explicit(&c->values[id], memory_order_relaxed);
}

#endif
