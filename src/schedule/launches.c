/* SPDX-License-Identifier: MIT */
/* The cursor over a layer's demand. */
#include "schedule/launches.h"

#include <assert.h>

launches launches_of(const schedule_demand *demands, schedule_plan plan, uint32_t together)
{
	uint32_t end = plan.resident + plan.streamed;

	return (launches){.demands = demands,
	                  .together = together,
	                  .resident_end = plan.resident,
	                  .streamed = plan.resident,
	                  .streamed_end = end,
	                  .started = plan.resident,
	                  .end = end};
}

/* ------------------------------------------------------------------ what comes next */

static bool start_is_due(const launches *l)
{
	return !l->full && l->started < l->streamed_end &&
	       l->started - l->streamed < LAUNCHES_COPIES_AHEAD * l->together;
}

static launch_step next_start(const launches *l)
{
	uint32_t left = l->streamed_end - l->started;

	return (launch_step){LAUNCH_START, l->started, left < l->together ? left : l->together};
}

/* Residents start together by number. Those that copies wait for start one by one, so that the first copy
 * need not wait for all of them. */
static launch_step next_residents(const launches *l)
{
	const schedule_demand *first = l->demands + l->resident;
	uint32_t n = 1, left = l->resident_end - l->resident;
	bool alone = first->launch == 0 && l->end > l->resident_end;

	while (!alone && n < left && first[n].launch == first->launch)
		n++;
	return (launch_step){LAUNCH_RESIDENTS, l->resident, n};
}

/* The misses of one copy, as far as they were started. */
static launch_step next_streamed(const launches *l)
{
	const schedule_demand *first = l->demands + l->streamed;
	uint32_t n = 1;

	while (l->streamed + n < l->started && first[n].launch == first->launch)
		n++;
	return (launch_step){LAUNCH_STREAMED, l->streamed, n};
}

/* Residents wait for the misses before them only where these were started. */
static bool residents_come_first(const launches *l)
{
	if (l->resident == l->resident_end)
		return false;
	return l->streamed == l->started ||
	       l->demands[l->resident].launch < l->demands[l->streamed].launch;
}

launch_step launches_next_launch(const launches *l)
{
	if (residents_come_first(l))
		return next_residents(l);
	if (l->streamed < l->started)
		return next_streamed(l);
	return (launch_step){.kind = LAUNCH_DONE};
}

launch_step launches_next(const launches *l)
{
	if (start_is_due(l))
		return next_start(l);
	launch_step next = launches_next_launch(l);
	if (next.kind == LAUNCH_DONE && l->streamed < l->streamed_end)
		next.kind = LAUNCH_STUCK;
	return next;
}

/* ------------------------------------------------------------------ what happened */

void launches_started(launches *l, const launch_step *start, uint32_t got)
{
	assert(start->kind == LAUNCH_START && start->first == l->started && got <= start->n);
	l->started += got;
	l->full = got < start->n;
}

void launches_launched(launches *l, const launch_step *launch)
{
	l->full = false;
	if (launch->kind == LAUNCH_RESIDENTS)
		l->resident += launch->n;
	else
		l->streamed += launch->n;
	assert(l->resident <= l->resident_end && l->streamed <= l->started);
}

uint32_t launches_left(const launches *l)
{
	return l->streamed_end - l->started;
}

uint32_t launches_take(launches *l)
{
	assert(launches_left(l) > 0);
	return --l->streamed_end;
}

uint32_t launches_taken(const launches *l)
{
	return l->end - l->streamed_end;
}
