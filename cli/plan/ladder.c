/* SPDX-License-Identifier: MIT */
/* Every budget, then a search between neighbours that differ. */
#include "cli/plan/ladder.h"

#include "cli/message.h"

#define SEARCH_STEPS 6

static ufm_status open_points(const point_config *c, const budget_list *budgets, plan_ladder *out)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < budgets->count && !status; i++) {
		message_progress("budget %u of %u", i + 1, budgets->count);
		status = point_open(c, budgets->target_bytes[i], &out->points[i]);
		if (!status)
			status = point_bound(c, &out->points[i]);
		out->count += status == UFM_OK;
	}
	return status;
}

/* Between one budget and a larger one that is bound by something else: halving. */
static ufm_status search(const point_config *c, const plan_point *low, const plan_point *high,
                         ladder_change *out)
{
	timing_bound before = point_decode(low)->bound;
	uint64_t from = low->target_bytes, to = high->target_bytes;
	out->bound = point_decode(high)->bound;
	for (int i = 0; i < SEARCH_STEPS; i++) {
		plan_point p;
		uint64_t middle = from + (to - from) / 2;
		ufm_status status = point_open(c, middle, &p);
		if (status)
			return status;
		bool changed = !p.refused && point_decode(&p)->bound != before;
		if (changed)
			out->bound = point_decode(&p)->bound;
		*(changed ? &to : &from) = middle;
	}
	out->target_bytes = to;
	return UFM_OK;
}

static ufm_status find_changes(const point_config *c, plan_ladder *l)
{
	const plan_point *before = NULL;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < l->count && !status; i++) {
		const plan_point *p = &l->points[i];
		if (p->refused)
			continue;
		bool ascending = before && before->target_bytes < p->target_bytes;
		if (ascending && point_decode(before)->bound != point_decode(p)->bound) {
			message_progress("searching what binds next");
			status = search(c, before, p, &l->changes[l->change_count++]);
		}
		before = p;
	}
	return status;
}

ufm_status ladder_open(const point_config *config, const budget_list *budgets, plan_ladder *out)
{
	out->count = out->change_count = 0;
	ufm_status status = open_points(config, budgets, out);
	if (!status)
		status = find_changes(config, out);
	message_progress_clear();
	return status;
}
