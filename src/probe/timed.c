/* SPDX-License-Identifier: MIT */
/* A unit of work is enqueued often enough for a measurement to last. */
#include "probe/timed.h"

#include "base/clock.h"
#include "base/median.h"

#define REPEATS_MAX 11u
#define REPEAT_NS 5000000u /* one measurement: starting it is nothing beside it */
#define UNITS_MIN 2u

ufm_status timed_enqueue(const timed *t, timed_unit unit, void *ctx, uint32_t count)
{
	ufm_status status = t->b->event_record(t->begin, t->stream);
	for (uint32_t i = 0; !status && i < count; i++)
		status = unit(ctx, i);
	return status ? status : t->b->event_record(t->end, t->stream);
}

ufm_status timed_finish(const timed *t, ufm_status outcome, uint64_t *elapsed_ns)
{
	ufm_status status = t->b->event_sync(t->end, UFM_WAIT_FOREVER);
	if (!status)
		status = t->b->event_elapsed(t->begin, t->end, elapsed_ns);
	if (!status && *elapsed_ns == 0)
		*elapsed_ns = 1;
	return outcome ? outcome : status;
}

ufm_status timed_units(const timed *t, timed_unit unit, void *ctx, uint32_t count,
                       uint64_t *elapsed_ns)
{
	ufm_status status = timed_enqueue(t, unit, ctx, count);
	return timed_finish(t, status, elapsed_ns);
}

/* So many fill a measurement of which one takes so long. */
static uint32_t units_for(uint64_t each_ns)
{
	uint64_t fit = REPEAT_NS / each_ns + 1;
	return fit > TIMED_UNITS_MAX ? TIMED_UNITS_MAX : fit < UNITS_MIN ? UNITS_MIN : (uint32_t)fit;
}

/* The first one only shows how long it is. */
ufm_status timed_each(const timed *t, timed_unit unit, void *ctx, uint64_t budget_ns,
                      double *each_ns)
{
	double took_ns[REPEATS_MAX];
	uint64_t begin_ns = clock_now_ns(), elapsed_ns = 0;
	uint32_t repeats = 0;
	ufm_status status = timed_units(t, unit, ctx, 1, &elapsed_ns);
	if (status)
		return status;
	uint32_t count = units_for(elapsed_ns);
	do {
		status = timed_units(t, unit, ctx, count, &elapsed_ns);
		took_ns[repeats++] = (double)elapsed_ns;
	} while (!status && repeats < REPEATS_MAX && clock_now_ns() - begin_ns < budget_ns);
	if (!status)
		*each_ns = median_of(took_ns, repeats) / count;
	return status;
}
