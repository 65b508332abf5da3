/* SPDX-License-Identifier: MIT */
/* Every budget, then a search between neighbours that differ. */
#include "cli/plan/ladder.h"

#include "cli/interrupt.h"
#include "cli/message.h"

#define SEARCH_STEPS 6

static ufm_status open_points(const point_config *c, const budget_list *budgets, plan_ladder *out)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < budgets->count && !status; i++) {
		message_progress("budget %u of %u", i + 1, budgets->count);
		status = interrupt_check();
		if (!status)
			status = point_open(c, budgets->target_bytes[i], &out->points[i]);
		if (!status)
			status = point_bound(c, &out->points[i]);
		out->count += status == UFM_OK;
	}
	return status;
}

static timing_bound bound_of(const plan_point *p)
{
	return point_decode(p)->bound;
}

/* The first budget that is bound otherwise than `low`, below or at `high`, which is: halving. */
static ufm_status search(const point_config *c, const plan_point *low, const plan_point *high,
                         plan_point *out)
{
	uint64_t from = low->target_bytes;
	*out = *high;
	for (int i = 0; i < SEARCH_STEPS; i++) {
		plan_point middle;
		ufm_status status = interrupt_check();
		if (!status)
			status = point_open(c, from + (out->target_bytes - from) / 2, &middle);
		if (status)
			return status;
		if (!middle.refused && bound_of(&middle) != bound_of(low))
			*out = middle;
		else
			from = middle.target_bytes;
	}
	return UFM_OK;
}

/* More than one thing may change between two budgets. */
static ufm_status find_between(const point_config *c, const plan_point *low, const plan_point *high,
                               plan_ladder *l)
{
	plan_point at = *low, next;
	while (bound_of(&at) != bound_of(high) && l->change_count < LADDER_CHANGES_MAX) {
		message_progress("searching what binds next");
		ufm_status status = search(c, &at, high, &next);
		if (status)
			return status;
		l->changes[l->change_count++] =
			(ladder_change){.target_bytes = next.target_bytes, .bound = bound_of(&next)};
		at = next;
	}
	return UFM_OK;
}

/* The largest of the list up to the budget that holds everything. */
static ufm_status find_beyond(const point_config *c, const plan_point *last, plan_ladder *l)
{
	uint32_t keys = c->shape->bank.layers * c->shape->bank.experts;
	uint64_t whole_bytes = division_target(c->division, keys);
	plan_point whole;
	if (last->target_bytes >= whole_bytes)
		return UFM_OK;
	ufm_status status = point_open(c, whole_bytes, &whole);
	return status ? status : find_between(c, last, &whole, l);
}

static ufm_status find_changes(const point_config *c, plan_ladder *l)
{
	const plan_point *before = NULL;
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < l->count && !status; i++) {
		const plan_point *p = &l->points[i];
		if (p->refused || (before && p->target_bytes <= before->target_bytes))
			continue;
		if (before)
			status = find_between(c, before, p, l);
		before = p;
	}
	return status || !before ? status : find_beyond(c, before, l);
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
