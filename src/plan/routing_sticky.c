/* SPDX-License-Identifier: MIT */
/* The router of `ufm bench --workload sticky:…`, or the one of those that suits a shape. */
#include "plan/routing_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "trace/sticky_run.h"

ufm_status routing_sticky_check(const char *text)
{
	sticky_config router;
	return *text ? sticky_parse(text, &router) : UFM_OK;
}

/* Of the same name, or with as many experts, as nearly as there is one. */
static const char *nearest(const plan_shape *shape)
{
	const char *best = NULL, *name;
	double best_distance = INFINITY;
	for (uint32_t i = 0; (name = sticky_preset_name(i)); i++) {
		sticky_config router;
		if (strcmp(name, shape->name) == 0)
			return name;
		sticky_preset(name, &router);
		double distance = fabs(log((double)router.experts / shape->bank.experts));
		if (!best || distance < best_distance) {
			best = name;
			best_distance = distance;
		}
	}
	return best;
}

/* Of its overlap the part above chance, which is more where a token chooses a larger share of the experts. */
static void keep_excess(const plan_shape *shape, sticky_config *router)
{
	double theirs = (double)router->top_k / router->experts;
	double here = (double)shape->top_k / shape->bank.experts;
	router->overlap = here + (router->overlap - theirs) / (1 - theirs) * (1 - here);
}

ufm_status routing_sticky_make(const plan_routing_config *c, const char *text, trace *out)
{
	sticky_config router;
	const bank_shape *bank = &c->shape->bank;
	const sticky_run run = {.seed = c->seed,
	                        .layers = bank->layers,
	                        .experts = bank->experts,
	                        .top_k = c->shape->top_k,
	                        .tokens = c->step_tokens,
	                        .sequences = c->side_by_side ? c->step_tokens : 0};
	ufm_status status = sticky_parse(*text ? text : nearest(c->shape), &router);
	if (status)
		return status;
	if (!*text)
		keep_excess(c->shape, &router);
	return sticky_route(&router, &run, out);
}

void routing_sticky_words(const plan_routing_config *c, const char *text, char *words, size_t size)
{
	sticky_config router = {.experts = 0};
	const char *name = *text ? text : nearest(c->shape);
	if (sticky_parse(name, &router) == UFM_OK && router.experts == 0)
		snprintf(words, size, "made routing of overlap %g, skew %g and drift %g", router.overlap,
		         router.skew, router.drift);
	else if (strcmp(name, c->shape->name) == 0)
		snprintf(words, size,
		         "made routing, calibrated to the recorded or published routing of this model");
	else
		snprintf(words, size, "made routing that repeats itself as that of %s does%s", name,
		         *text ? "" : ", of those that were recorded or published the nearest in size");
}
