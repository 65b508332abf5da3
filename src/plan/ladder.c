/* SPDX-License-Identifier: MIT */
/* Every budget, then a search between neighbours that differ. */
#include "plan/ladder.h"

#include "base/status.h"

#define SEARCH_STEPS 6

typedef struct climber {
	const point_config *config;
	const ladder_watch *watch;
} climber;

static ufm_status open_point(const climber *c, uint64_t target_bytes, plan_point *out)
{
	const ladder_watch *w = c->watch;
	if (w->stop && w->stop(w->stop_ctx))
		return status_fail(UFM_ECANCELED, "stop: the plan was ended before %llu bytes",
		                   (unsigned long long)target_bytes);
	return point_open(c->config, target_bytes, out);
}

static void tell(const climber *c, uint32_t done, uint32_t total)
{
	if (c->watch->progress)
		c->watch->progress(c->watch->progress_ctx, done, total);
}

ufm_status ladder_points(const point_config *config, const uint64_t *target_bytes, uint32_t count,
                         const ladder_watch *watch, plan_point *out)
{
	const climber c = {.config = config, .watch = watch};
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < count && !status; i++) {
		tell(&c, i, count);
		status = open_point(&c, target_bytes[i], &out[i]);
		if (!status)
			status = point_bound(config, &out[i]);
	}
	if (!status)
		tell(&c, count, count);
	return status;
}

static timing_bound bound_of(const plan_point *p)
{
	return point_decode(p)->bound;
}

/* The first budget that is bound otherwise than `low`, below or at `high`, which is: halving. */
static ufm_status search(const climber *c, const plan_point *low, const plan_point *high,
                         plan_point *out)
{
	uint64_t from = low->target_bytes;
	*out = *high;
	for (int i = 0; i < SEARCH_STEPS; i++) {
		plan_point middle;
		ufm_status status = open_point(c, from + (out->target_bytes - from) / 2, &middle);
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
static ufm_status find_between(const climber *c, const plan_point *low, const plan_point *high,
                               plan_ladder *l)
{
	plan_point at = *low, next;
	while (bound_of(&at) != bound_of(high) && l->change_count < LADDER_CHANGES_MAX) {
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
static ufm_status find_beyond(const climber *c, const plan_point *last, plan_ladder *l)
{
	const bank_shape *bank = &c->config->shape->bank;
	uint64_t whole_bytes = division_target(c->config->division, bank->layers * bank->experts);
	plan_point whole;
	if (last->target_bytes >= whole_bytes)
		return UFM_OK;
	ufm_status status = open_point(c, whole_bytes, &whole);
	return status ? status : find_between(c, last, &whole, l);
}

static ufm_status find_changes(const climber *c, plan_ladder *l)
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

ufm_status ladder_open(const point_config *config, const budget_list *budgets,
                       const ladder_watch *watch, plan_ladder *out)
{
	const climber c = {.config = config, .watch = watch};
	out->count = budgets->count;
	out->change_count = 0;
	ufm_status status =
		ladder_points(config, budgets->target_bytes, budgets->count, watch, out->points);
	return status ? status : find_changes(&c, out);
}
