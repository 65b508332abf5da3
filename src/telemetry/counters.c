/* SPDX-License-Identifier: MIT */
/* The public description of the counters, out of counters.def. */
#include "telemetry/counters.h"

static const ufm_counter_desc descriptions[COUNTER_COUNT] = {
#define COUNTER(name, unit, kind, help) {#name, unit, kind, help},
#include "telemetry/counters.def"
#undef COUNTER
};

uint32_t ufm_counter_count(void)
{
	return COUNTER_COUNT;
}

const ufm_counter_desc *ufm_counter_describe(uint32_t index)
{
	return index < COUNTER_COUNT ? &descriptions[index] : NULL;
}
