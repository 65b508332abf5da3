/* SPDX-License-Identifier: MIT */
/* How far a budget can change, and a change by what somebody else needs. */
#include <inttypes.h>

#include "base/status.h"
#include "pager/pager_int.h"

static ufm_engine_bounds bounds_of(ufm_engine *e)
{
	budget_terms terms = engine_terms(e);
	ufm_engine_bounds found;
	UFM_STRUCT_INIT(&found);
	lock_take(&e->lock);
	found.least_bytes = budget_target(&terms, budget_slots_min(&terms));
	found.now_bytes = budget_target(&terms, e->plan.slots);
	found.most_bytes = budget_target(&terms, e->region.slots_max);
	lock_drop(&e->lock);
	return found;
}

ufm_status ufm_engine_get_bounds(ufm_engine *e, ufm_engine_bounds *bounds)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK)
		status = status_check_info(bounds, "bounds");
	if (status != UFM_OK)
		return status;
	ufm_engine_bounds found = bounds_of(e);
	return status_write_info(bounds, &found, sizeof found, "ufm_engine_bounds");
}

/* Another thread may resize between the look and the change: then the smaller of both budgets is taken, which the next
 * look shows. */
ufm_status ufm_engine_make_room(ufm_engine *e, uint64_t size_bytes, uint64_t *freed_bytes)
{
	ufm_engine_bounds was, is;
	UFM_STRUCT_INIT(&was);
	UFM_STRUCT_INIT(&is);
	ufm_status status = ufm_engine_get_bounds(e, &was);
	if (status != UFM_OK)
		return status;
	uint64_t most_bytes = was.now_bytes - was.least_bytes;
	if (size_bytes > most_bytes)
		return status_fail(UFM_EBUDGET,
		                   "room for %" PRIu64
		                   " bytes: the smallest working set leaves at most %" PRIu64
		                   " to give back",
		                   size_bytes, most_bytes);
	if (size_bytes)
		status = ufm_engine_resize(e, was.now_bytes - size_bytes);
	if (status == UFM_OK)
		status = ufm_engine_get_bounds(e, &is);
	if (status == UFM_OK && freed_bytes)
		*freed_bytes = was.now_bytes - is.now_bytes;
	return status;
}
