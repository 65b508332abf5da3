/* SPDX-License-Identifier: MIT */
/* Between steps: the engines take what nobody needs, or give back what others are to find. */
#include <inttypes.h>

#include "base/size.h"
#include "base/status.h"
#include "pager/lender.h"

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint64_t over_bytes(const ufm_lender *l, const lender_view *v)
{
	return v->used_bytes > l->c.limit_bytes ? v->used_bytes - l->c.limit_bytes : 0;
}

/* What the engines are to hold together. */
static uint64_t find_target(const ufm_lender *l, const lender_view *v, uint64_t keep_bytes,
                            const ufm_engine_bounds *sum)
{
	uint64_t over = over_bytes(l, v), room = v->room_bytes;
	uint64_t less = keep_bytes > room ? keep_bytes - room : 0;
	uint64_t most_less = sum->now_bytes - sum->least_bytes;
	less = less > UINT64_MAX - over ? UINT64_MAX : less + over;
	if (less)
		return less < most_less ? sum->now_bytes - less : sum->least_bytes;
	uint64_t more = room - keep_bytes, most_more = sum->most_bytes - sum->now_bytes;
	return more < most_more ? sum->now_bytes + more : sum->most_bytes;
}

/* A little is not worth a resize, unless the limit is passed or it is all that some expert lacks. */
static bool is_worth(const ufm_lender *l, const lender_view *v, uint64_t target_bytes,
                     const ufm_engine_bounds *sum)
{
	if (target_bytes == sum->now_bytes)
		return false;
	return over_bytes(l, v) || target_bytes == sum->most_bytes ||
	       distance(target_bytes, sum->now_bytes) >= l->step_bytes;
}

static void count_change(ufm_lender *l, uint64_t was_bytes, uint64_t is_bytes)
{
	ufm_lender_info *f = &l->figures;
	f->grown += is_bytes > was_bytes;
	f->grown_bytes += is_bytes > was_bytes ? is_bytes - was_bytes : 0;
	f->shrunk += is_bytes < was_bytes;
	f->shrunk_bytes += is_bytes < was_bytes ? was_bytes - is_bytes : 0;
}

/* Grows an engine by what is left of the target, where that is another slot at least. */
static ufm_status top_up_one(ufm_lender *l, ufm_engine *e, uint64_t target_bytes)
{
	ufm_engine_bounds sum, own;
	UFM_STRUCT_INIT(&own);
	ufm_status status = lender_sum_bounds(l, &sum);
	if (status == UFM_OK)
		status = ufm_engine_get_bounds(e, &own);
	if (status != UFM_OK || sum.now_bytes >= target_bytes)
		return status;
	uint64_t left_bytes = target_bytes - sum.now_bytes,
			 lacks_bytes = own.most_bytes - own.now_bytes;
	uint64_t slot_bytes = size_round_up(e->desc.block_bytes, e->device_info.map_granularity_bytes);
	if (lacks_bytes == 0 || left_bytes < slot_bytes)
		return UFM_OK;
	return ufm_engine_resize(e,
	                         own.now_bytes + (left_bytes < lacks_bytes ? left_bytes : lacks_bytes));
}

/* The parts of a division are no whole slots: what they leave together may be another slot of one. */
static ufm_status divide_whole(ufm_lender *l, uint64_t target_bytes)
{
	ufm_status status = ufm_engines_divide(l->engines, l->engine_count, target_bytes, NULL);
	for (uint32_t i = 0; i < l->engine_count && status == UFM_OK; i++)
		status = top_up_one(l, l->engines[i], target_bytes);
	return status;
}

/* Growing may take a driver more than was mapped (its tables): that is given back. */
static ufm_status change(ufm_lender *l, lender_view *v, uint64_t target_bytes,
                         const ufm_engine_bounds *was)
{
	ufm_engine_bounds is;
	ufm_status status = divide_whole(l, target_bytes);
	if (lender_sum_bounds(l, &is) == UFM_OK)
		count_change(l, was->now_bytes, is.now_bytes);
	return status == UFM_OK ? lender_fit(l, 0, v) : status;
}

static ufm_status check_room(const ufm_lender *l, const lender_view *v, uint64_t keep_bytes)
{
	uint64_t over = over_bytes(l, v), room = v->room_bytes;
	if (!over && (room >= keep_bytes || keep_bytes - room < l->step_bytes))
		return UFM_OK;
	return status_fail(UFM_EBUDGET,
	                   "device memory: %" PRIu64 " bytes to keep free, %" PRIu64
	                   " used of a limit of %" PRIu64 ", and engines can give back no more",
	                   keep_bytes, v->used_bytes, l->c.limit_bytes);
}

static bool was_settled(const ufm_lender *l, const lender_view *v, uint64_t keep_bytes)
{
	return l->is_settled && !over_bytes(l, v) && v->room_bytes == l->settled_room_bytes &&
	       keep_bytes == l->settled_keep_bytes;
}

static ufm_status settle(ufm_lender *l, uint64_t keep_bytes)
{
	lender_view v;
	ufm_engine_bounds sum;
	ufm_status status = lender_look(l, &v);
	if (status != UFM_OK || was_settled(l, &v, keep_bytes))
		return status;
	l->is_settled = false;
	status = lender_sum_bounds(l, &sum);
	if (status != UFM_OK)
		return status;
	uint64_t target_bytes = find_target(l, &v, keep_bytes, &sum);
	if (is_worth(l, &v, target_bytes, &sum))
		status = change(l, &v, target_bytes, &sum);
	if (status == UFM_OK)
		status = check_room(l, &v, keep_bytes);
	if (status != UFM_OK)
		return status;
	l->is_settled = true;
	l->settled_room_bytes = v.room_bytes;
	l->settled_keep_bytes = keep_bytes;
	return UFM_OK;
}

ufm_status ufm_lender_settle(ufm_lender *l, uint64_t keep_free_bytes)
{
	ufm_status status = lender_check_process(l);
	if (status != UFM_OK)
		return status;
	lock_take(&l->lock);
	status = settle(l, keep_free_bytes);
	lock_drop(&l->lock);
	return status;
}
