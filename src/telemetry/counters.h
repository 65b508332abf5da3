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

/* Rows that the device computed with this arithmetic; 0 is fp32, as a backend takes it. */
static inline counter_id counter_of_math(ufm_math math)
{
	return math == UFM_MATH_BF16   ? COUNTER_bf16_rows
	       : math == UFM_MATH_TF32 ? COUNTER_tf32_rows
	                               : COUNTER_fp32_rows;
}

#endif
